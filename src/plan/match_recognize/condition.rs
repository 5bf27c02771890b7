//! Conditions over single values, where they can be told by these.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator, Volatility};

use super::slots::{Read, Rows, SlotList, is_truth, read};
use crate::Result;
use crate::operator::match_recognize::{
    Arithmetic, Beside, Compare, Condition, End, General, Navigation, Number, Program, Scalar, Term, Update, Variables,
    is_scalar, scalars,
};
use crate::plan::compile::physical;

/// So many rows are remembered one by one at most; further back conditions look through the match.
const MAX_REMEMBERED: u64 = 1_000;

/// Conditions while they are compiled.
pub(super) struct Conditions<'a, 'b> {
    pub rows: &'a mut Rows<'b>,
    pub program: Program,
    /// The registers of rows: of which variables, from which end, of which value; where they begin and how many they are.
    remembered: Vec<(Variables, End, Beside, usize, usize)>,
}

/// Where a value stands when a row is held against a variable's condition.
enum Place {
    /// In the row itself, or in one beside it.
    Current,
    /// In what is remembered.
    Remembered(Navigation),
    /// In what is remembered, or in the row itself if it is that one.
    FirstOrCurrent(Navigation),
}

impl<'a, 'b> Conditions<'a, 'b> {
    pub fn new(rows: &'a mut Rows<'b>, variables: usize) -> Self {
        let program = Program {
            conditions: vec![Condition::Always; variables],
            updates: vec![Vec::new(); variables],
            ..Program::default()
        };
        Self { rows, program, remembered: Vec::new() }
    }

    /// Adds the condition of a variable.
    pub fn define(&mut self, variable: usize, expr: &Expr) -> Result<()> {
        let (known, remembered) = (self.program.clone(), self.remembered.clone());
        self.program.conditions[variable] = match self.term(expr, variable as u32)? {
            Some(Term::Cell(cell)) => Condition::Cell(cell),
            Some(Term::Constant(Scalar::Bool(true))) => Condition::Always,
            Some(term) => Condition::Term(term),
            None => {
                // What it would remember is of no use.
                (self.program, self.remembered) = (known, remembered);
                self.general(expr)?
            }
        };
        Ok(())
    }

    fn general(&mut self, expr: &Expr) -> Result<Condition> {
        self.program.general = true;
        let mut slots = SlotList::default();
        let expr = slots.expression(expr, self.rows)?;
        let condition = physical(&expr, &slots.schema()?)?;
        Ok(Condition::General(Arc::new(General { slots: slots.finish(), condition })))
    }

    fn term(&mut self, expr: &Expr, variable: u32) -> Result<Option<Term>> {
        let data_type = expr.get_type(self.rows.names)?;
        if let Expr::Literal(value, _) = expr {
            return Ok(constant(value).map(Term::Constant));
        }
        if let Some(navigation) = only_row(expr)? {
            if is_scalar(&data_type)
                && let Some(term) = self.value(expr, &navigation, variable)?
            {
                return Ok(Some(term));
            }
        } else if let Some(Read::Aggregate(variables, _, call)) = read(expr) {
            return self.aggregate(variables, call, variable);
        }
        Ok(match expr {
            Expr::Alias(alias) => return self.term(&alias.expr, variable),
            Expr::Not(inner) => self.boxed(inner, variable)?.map(Term::Not),
            Expr::IsNull(inner) => self.boxed(inner, variable)?.map(Term::IsNull),
            Expr::IsNotNull(inner) => self.boxed(inner, variable)?.map(|t| Term::Not(Box::new(Term::IsNull(t)))),
            Expr::BinaryExpr(binary) => {
                let sides = (self.boxed(&binary.left, variable)?, self.boxed(&binary.right, variable)?);
                let (Some(left), Some(right)) = sides else { return Ok(None) };
                return self.binary(binary, left, right);
            }
            Expr::Between(between) => {
                let value = self.boxed(&between.expr, variable)?;
                let bounds = (self.boxed(&between.low, variable)?, self.boxed(&between.high, variable)?);
                let (Some(value), (Some(low), Some(high))) = (value, bounds) else { return Ok(None) };
                let types = [&between.expr, &between.low, &between.high].map(|e| e.get_type(self.rows.names));
                let [Ok(value_type), Ok(low_type), Ok(high_type)] = types else { return Ok(None) };
                if value_type != low_type || value_type != high_type {
                    return Ok(None);
                }
                let above = Term::Compare(Compare::GreaterOrEqual, value.clone(), low);
                let both = Term::And(Box::new(above), Box::new(Term::Compare(Compare::LessOrEqual, value, high)));
                Some(if between.negated { Term::Not(Box::new(both)) } else { both })
            }
            Expr::Cast(cast) => {
                let from = cast.expr.get_type(self.rows.names)?;
                match (number(&from), number(&data_type)) {
                    (Some(Number::Int(from)), Some(Number::Int(to))) if from <= to => {
                        return self.term(&cast.expr, variable);
                    }
                    (Some(Number::Int(_)), Some(Number::Double)) => {
                        self.boxed(&cast.expr, variable)?.map(Term::ToDouble)
                    }
                    _ => None,
                }
            }
            _ => None,
        })
    }

    fn boxed(&mut self, expr: &Expr, variable: u32) -> Result<Option<Box<Term>>> {
        Ok(self.term(expr, variable)?.map(Box::new))
    }

    fn binary(&self, binary: &BinaryExpr, left: Box<Term>, right: Box<Term>) -> Result<Option<Term>> {
        let (left_type, right_type) = (binary.left.get_type(self.rows.names)?, binary.right.get_type(self.rows.names)?);
        let null = |t: &DataType| *t == DataType::Null;
        let compare = match binary.op {
            Operator::And => return Ok(Some(Term::And(left, right))),
            Operator::Or => return Ok(Some(Term::Or(left, right))),
            Operator::Eq => Compare::Equal,
            Operator::NotEq => Compare::NotEqual,
            Operator::Lt => Compare::Less,
            Operator::LtEq => Compare::LessOrEqual,
            Operator::Gt => Compare::Greater,
            Operator::GtEq => Compare::GreaterOrEqual,
            Operator::IsDistinctFrom => Compare::Distinct,
            Operator::IsNotDistinctFrom => Compare::NotDistinct,
            Operator::Plus | Operator::Minus | Operator::Multiply => {
                let Some(number) = number(&left_type).filter(|_| left_type == right_type) else { return Ok(None) };
                let operation = match binary.op {
                    Operator::Plus => Arithmetic::Plus,
                    Operator::Minus => Arithmetic::Minus,
                    _ => Arithmetic::Times,
                };
                return Ok(Some(Term::Arithmetic(operation, number, left, right)));
            }
            _ => return Ok(None),
        };
        let comparable = (left_type == right_type && is_scalar(&left_type)) || null(&left_type) || null(&right_type);
        Ok(comparable.then_some(Term::Compare(compare, left, right)))
    }

    /// A value of one row of the match.
    fn value(&mut self, expr: &Expr, navigation: &Navigation, variable: u32) -> Result<Option<Term>> {
        let own = navigation.variables.contains(variable);
        let place = match (navigation.end, navigation.offset) {
            (End::Last, 0) if own => Place::Current,
            (End::Last, offset) if own => Place::Remembered(Navigation { offset: offset - 1, ..navigation.clone() }),
            (End::First, _) if own => Place::FirstOrCurrent(navigation.clone()),
            _ => Place::Remembered(navigation.clone()),
        };
        if navigation.offset >= MAX_REMEMBERED || !is_harmless(expr) {
            return Ok(None);
        }
        let row = expr.clone().transform_down(|e| match read(&e) {
            Some(Read::Value(_, value)) => Ok(Transformed::new(value.clone(), true, TreeNodeRecursion::Jump)),
            _ => Ok(Transformed::no(e)),
        });
        let column = self.rows.column(&row?.data)?;
        let cell = self.cell(column);
        let Some(absent) = self.absent(column) else { return Ok(None) };
        let value = Beside { cell, shift: navigation.shift, absent };
        Ok(Some(match place {
            Place::Current if value.shift == 0 => Term::Cell(cell),
            Place::Current => Term::Beside(value),
            Place::Remembered(navigation) => {
                let at = self.registers(&navigation, value) + navigation.offset as usize;
                Term::Register { at, absent }
            }
            Place::FirstOrCurrent(navigation) => {
                let registers = self.registers(&navigation, value);
                Term::First { registers, nth: navigation.offset as usize, value, absent }
            }
        }))
    }

    /// The cell for a column.
    fn cell(&mut self, column: usize) -> usize {
        let cells = &mut self.program.cells;
        cells.iter().position(|c| *c == column).unwrap_or_else(|| {
            cells.push(column);
            cells.len() - 1
        })
    }

    /// What a column's expression gives where there is no row; `None` where it fails on NULLs.
    fn absent(&self, column: usize) -> Option<Scalar> {
        let (expr, _) = self.rows.exprs.get(column)?;
        let fields = self.rows.before.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let nulls = schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(schema, nulls, &options).ok()?;
        let value = expr.evaluate(&row).ok()?.into_array(1).ok()?;
        let mut values = Vec::new();
        scalars(&value, &mut values);
        values.first().copied()
    }

    fn new_registers(&mut self, count: usize, variables: &Variables, update: &Update) -> usize {
        let at = self.program.registers;
        self.program.registers += count;
        for (variable, updates) in (0u32..).zip(&mut self.program.updates) {
            if variables.contains(variable) {
                updates.push(update.clone());
            }
        }
        at
    }

    /// The registers that hold a value of some rows, as far back as is asked for.
    fn registers(&mut self, navigation: &Navigation, value: Beside) -> usize {
        let Navigation { variables, end, offset, .. } = navigation;
        let count = *offset as usize + 1;
        let same = |(v, e, b, ..): &&(Variables, End, Beside, _, _)| (v, e, *b) == (variables, end, value);
        let known = self.remembered.iter().filter(same).find(|(.., most)| *most >= count);
        if let Some((.., at, _)) = known {
            return *at;
        }
        let at = self.program.registers;
        let update = match end {
            End::First => Update::First { at, count, value },
            End::Last => Update::Last { at, count, value },
        };
        self.new_registers(count, variables, &update);
        self.remembered.push((variables.clone(), *end, value, at, count));
        at
    }

    fn aggregate(&mut self, variables: &Variables, call: &AggregateFunction, variable: u32) -> Result<Option<Term>> {
        let params = &call.params;
        if params.distinct || params.filter.is_some() || !params.order_by.is_empty() {
            return Ok(None);
        }
        let [argument] = params.args.as_slice() else { return Ok(None) };
        let own = variables.contains(variable);
        let at = self.program.registers;
        if call.func.name() == "count" && matches!(argument, Expr::Literal(value, _) if !value.is_null()) {
            self.new_registers(1, variables, &Update::Count { at, cell: None });
            return Ok(Some(Term::Count { at, with: own.then_some(None) }));
        }
        let data_type = argument.get_type(self.rows.names)?;
        if !is_harmless(argument) || !is_scalar(&data_type) {
            return Ok(None);
        }
        let column = self.rows.column(argument)?;
        let cell = self.cell(column);
        let with = own.then_some(cell);
        Ok(match (call.func.name(), number(&data_type)) {
            ("count", _) => {
                self.new_registers(1, variables, &Update::Count { at, cell: Some(cell) });
                Some(Term::Count { at, with: own.then_some(Some(cell)) })
            }
            (name @ ("sum" | "avg"), Some(number)) => {
                self.new_registers(2, variables, &Update::Total { at, cell });
                Some(Term::Total { at, with, average: name == "avg", number })
            }
            (name @ ("min" | "max"), _) => {
                let least = name == "min";
                self.new_registers(1, variables, &Update::Extreme { at, cell, least });
                Some(Term::Extreme { at, with, least })
            }
            _ => None,
        })
    }
}

/// The numbers that terms compute with.
fn number(data_type: &DataType) -> Option<Number> {
    match data_type {
        DataType::Int8 => Some(Number::Int(8)),
        DataType::Int16 => Some(Number::Int(16)),
        DataType::Int32 => Some(Number::Int(32)),
        DataType::Int64 => Some(Number::Int(64)),
        DataType::Float64 => Some(Number::Double),
        _ => None,
    }
}

fn constant(value: &ScalarValue) -> Option<Scalar> {
    if value.is_null() {
        return Some(Scalar::Null);
    }
    if !is_scalar(&value.data_type()) {
        return None;
    }
    let mut values = Vec::new();
    scalars(&value.to_array().ok().filter(|a| a.len() == 1)?, &mut values);
    values.first().copied()
}

/// The row of the match that alone an expression reads, if it reads of one, and nothing else.
fn only_row(expr: &Expr) -> Result<Option<Navigation>> {
    let (mut only, mut other) = (None, false);
    expr.apply(|e| {
        match read(e) {
            Some(Read::Value(navigation, _)) if only.is_none() || only.as_ref() == Some(navigation) => {
                only = Some(navigation.clone());
            }
            Some(_) => other = true,
            None => return Ok(TreeNodeRecursion::Continue),
        }
        Ok(TreeNodeRecursion::Jump)
    })?;
    Ok(only.filter(|_| !other))
}

/// Whether an expression may be computed for rows that no match would ask it of: it does not fail, and has no effects.
fn is_harmless(expr: &Expr) -> bool {
    let mut harmless = true;
    let visited = expr.apply(|e| {
        harmless &= match e {
            _ if read(e).is_some() => true,
            Expr::Column(_) | Expr::Literal(..) | Expr::Alias(_) | Expr::Not(_) | Expr::IsNull(_) => true,
            Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) | Expr::IsUnknown(_) => true,
            Expr::IsNotTrue(_) | Expr::IsNotFalse(_) | Expr::IsNotUnknown(_) => true,
            Expr::Like(_) | Expr::SimilarTo(_) | Expr::Between(_) | Expr::InList(_) | Expr::Case(_) => true,
            Expr::BinaryExpr(binary) => !matches!(binary.op, Operator::Divide | Operator::Modulo),
            Expr::TryCast(_) => true,
            // From number to number: these are the ones that types are brought together by.
            Expr::Cast(cast) => cast.field.data_type().is_numeric() && !cast.field.data_type().is_integer(),
            Expr::ScalarFunction(call) => {
                let fails = ["cast", "to_", "parse", "div", "mod", "decimal", "from"];
                let name = call.name().to_ascii_lowercase();
                call.func.signature().volatility == Volatility::Immutable && !fails.iter().any(|f| name.contains(f))
            }
            _ => false,
        };
        let jump = read(e).is_some() || !harmless;
        Ok(if jump { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue })
    });
    harmless && visited.is_ok()
}

/// Whether an expression is a condition.
pub(super) fn is_condition(expr: &Expr, rows: &Rows<'_>) -> Result<bool> {
    let data_type = expr.get_type(rows.names)?;
    Ok(is_truth(&data_type) || data_type == DataType::Null)
}
