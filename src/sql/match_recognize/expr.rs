//! Expressions in MEASURES and DEFINE.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, plan_datafusion_err};
use datafusion_expr::planner::RelationPlannerContext;
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_sql::sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Spanned, Value, VisitMut, VisitorMut,
};

use super::pattern::Names;
use super::{DfResult, at, located};
use crate::operator::match_recognize::{End, Navigation, Variables};
use crate::plan::{Instant, MatchNumber, Navigate, Over, classifier};

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// In DEFINE.
    Define,
    /// In MEASURES, one row a match.
    OneRow,
    /// In MEASURES, all rows of a match.
    AllRows,
}

/// What the names in expressions stand for.
pub(super) struct Scope<'a> {
    pub names: &'a Names,
    pub schema: &'a DFSchema,
    /// What rows are ordered by.
    pub time: Option<&'a Expr>,
    pub context: &'a mut dyn RelationPlannerContext,
}

/// What stands for something that is read of a match's rows while the expression around it is planned.
const MARK: &str = "$match";

impl Scope<'_> {
    /// Plans an expression.
    pub fn plan(&mut self, mut expr: SqlExpr, place: Where) -> DfResult<Expr> {
        let span = expr.span();
        let mut reads = Reads { scope: self, place, found: Vec::new() };
        if let ControlFlow::Break(error) = expr.visit(&mut reads) {
            return Err(located(*error, span));
        }
        let found = reads.found;
        let fields = found.iter().enumerate().map(|(n, read)| {
            let data_type = read.get_type(self.schema)?;
            Ok((None, Arc::new(Field::new(format!("{MARK}{n}"), data_type, true))))
        });
        let fields = fields.collect::<DfResult<Vec<_>>>()?;
        let schema = DFSchema::new_with_metadata(fields, Default::default())?;
        let planned = self.context.sql_to_expr(expr, &schema).map_err(|e| located(e, span))?;
        let planned = planned.transform_up(|e| match &e {
            Expr::Column(Column { relation: None, name, .. }) => {
                let read = name.strip_prefix(MARK).and_then(|n| found.get(n.parse::<usize>().ok()?));
                Ok(read.map_or_else(|| Transformed::no(e.clone()), |read| Transformed::yes(read.clone())))
            }
            _ => Ok(Transformed::no(e)),
        });
        Ok(planned?.data)
    }
}

/// Finds what is read of a match's rows, and puts names into its place.
struct Reads<'a, 'b> {
    scope: &'a mut Scope<'b>,
    place: Where,
    found: Vec<Expr>,
}

type Flow = ControlFlow<Box<datafusion_common::DataFusionError>>;

impl VisitorMut for Reads<'_, '_> {
    type Break = Box<datafusion_common::DataFusionError>;

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> Flow {
        match self.read(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// A function's name in upper case, and its arguments.
fn call(function: &Function) -> Option<(String, &[FunctionArg])> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    match &function.args {
        FunctionArguments::List(list) => Some((name.value.to_ascii_uppercase(), &list.args)),
        FunctionArguments::None => Some((name.value.to_ascii_uppercase(), &[])),
        FunctionArguments::Subquery(_) => None,
    }
}

fn value(arg: &FunctionArg) -> Option<&SqlExpr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// What a navigation function says: how to get from the rows of a variable to one of them.
#[derive(Debug, Clone, Copy)]
struct Steps {
    end: End,
    offset: u64,
    shift: i64,
    whole: bool,
}

impl Reads<'_, '_> {
    fn steps(&self) -> Steps {
        Steps { end: End::Last, offset: 0, shift: 0, whole: self.place == Where::OneRow }
    }

    fn read(&mut self, expr: &mut SqlExpr) -> DfResult<()> {
        match expr {
            SqlExpr::Identifier(name) if name.value.starts_with(MARK) => Ok(()),
            SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => {
                let steps = self.steps();
                self.column(expr, steps).map(drop)
            }
            SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. } => {
                Err(at(expr.span(), "subqueries have no place in MEASURES and DEFINE"))
            }
            SqlExpr::Function(function) => {
                let function = function.clone();
                self.function(expr, &function)
            }
            _ => Ok(()),
        }
    }

    fn function(&mut self, expr: &mut SqlExpr, function: &Function) -> DfResult<()> {
        let span = function.name.span();
        let Some((name, args)) = call(function) else { return Ok(()) };
        let steps = self.steps();
        match (name.as_str(), args) {
            ("FIRST" | "LAST" | "PREV" | "NEXT" | "__FINAL" | "__RUNNING", _) => {
                let (inner, steps) = self.navigation(function, steps)?;
                *expr = self.navigated(inner, steps, span)?;
            }
            ("CLASSIFIER", []) => {
                let read = classifier(navigation(Variables::All, steps));
                *expr = self.replace(read, span);
            }
            ("MATCH_NUMBER", []) => *expr = self.replace(MatchNumber::call(), span),
            ("MATCH_ROWTIME", args) if args.len() <= 1 => {
                let time = self.scope.time.cloned();
                let time = time.ok_or_else(|| at(span, "MATCH_ROWTIME() needs ORDER BY a time attribute"))?;
                *expr = self.replace(Instant::call(time, !args.is_empty()), span);
            }
            ("MATCH_PROCTIME", []) => {
                if let SqlExpr::Function(function) = expr {
                    function.name = ObjectName::from(vec![Ident::with_span(span, "PROCTIME")]);
                }
            }
            _ if self.is_aggregate(&name) => *expr = self.aggregate(function, steps.whole)?,
            _ => {}
        }
        Ok(())
    }

    fn is_aggregate(&self, function: &str) -> bool {
        self.scope.context.context_provider().get_aggregate_meta(&function.to_ascii_lowercase()).is_some()
    }

    fn replace(&mut self, read: Expr, span: datafusion_sql::sqlparser::tokenizer::Span) -> SqlExpr {
        let known = self.found.iter().position(|known| known == &read);
        let at = known.unwrap_or_else(|| {
            self.found.push(read);
            self.found.len() - 1
        });
        SqlExpr::Identifier(Ident { quote_style: Some('`'), ..Ident::with_span(span, format!("{MARK}{at}")) })
    }

    /// Reads nested navigation functions from outside in: the expression that they are of, and the way to its row.
    fn navigation(&self, function: &Function, mut steps: Steps) -> DfResult<(SqlExpr, Steps)> {
        let span = function.name.span();
        let wrong = |message: &str| at(span, message.to_string());
        let Some((name, args)) = call(function) else { return Err(wrong("this navigation is not understood")) };
        let (first, number) = match args {
            [first] => (value(first), None),
            [first, number] => (value(first), Some(number)),
            _ => (None, None),
        };
        let inner = first.ok_or_else(|| wrong(&format!("{name} takes an expression and a number of rows")))?;
        let number = match number.map(|n| value(n).and_then(rows)) {
            None => None,
            Some(Some(n)) => Some(n),
            Some(None) => return Err(wrong(&format!("{name} takes a whole number of rows that is not negative"))),
        };
        match name.as_str() {
            "__FINAL" if self.place == Where::Define => return Err(wrong("FINAL has no place in DEFINE")),
            "__FINAL" => steps.whole = true,
            "__RUNNING" => steps.whole = self.place == Where::OneRow,
            "FIRST" => (steps.end, steps.offset) = (End::First, number.unwrap_or(0)),
            "LAST" => (steps.end, steps.offset) = (End::Last, number.unwrap_or(0)),
            "PREV" => steps.shift = -(number.unwrap_or(1) as i64),
            _ => steps.shift = number.unwrap_or(1) as i64,
        }
        if let SqlExpr::Function(nested) = inner
            && let Some((nested_name, _)) = call(nested)
        {
            let navigates = ["FIRST", "LAST", "PREV", "NEXT"].contains(&nested_name.as_str());
            let marks = name.starts_with("__");
            match (name.as_str(), nested_name.as_str()) {
                (_, _) if navigates && marks => return self.navigation(nested, steps),
                ("PREV" | "NEXT", "FIRST" | "LAST") => return self.navigation(nested, steps),
                _ if navigates || (!marks && self.is_aggregate(&nested_name)) => {
                    return Err(wrong(&format!("{nested_name} has no place in {name}")));
                }
                _ => {}
            }
        }
        Ok((inner.clone(), steps))
    }

    /// An expression whose columns are all read of the row that a navigation leads to.
    fn navigated(
        &mut self,
        mut inner: SqlExpr,
        steps: Steps,
        span: datafusion_sql::sqlparser::tokenizer::Span,
    ) -> DfResult<SqlExpr> {
        if let SqlExpr::Function(function) = &inner
            && let Some((name, args)) = call(function)
        {
            if name == "CLASSIFIER" && args.is_empty() {
                return Ok(self.replace(classifier(navigation(Variables::All, steps)), span));
            }
            if self.is_aggregate(&name) {
                return self.aggregate(&function.clone(), steps.whole);
            }
        }
        let mut columns = Columns { reads: self, steps, of: None };
        match inner.visit(&mut columns) {
            ControlFlow::Break(error) => Err(*error),
            ControlFlow::Continue(()) if columns.of.is_none() => {
                Err(at(span, "FIRST, LAST, PREV and NEXT are of an expression with a column"))
            }
            ControlFlow::Continue(()) => Ok(SqlExpr::Nested(Box::new(inner))),
        }
    }

    /// Puts a name into the place of a column; gives the variables that it is of.
    fn column(&mut self, expr: &mut SqlExpr, steps: Steps) -> DfResult<Variables> {
        let span = expr.span();
        let (variables, column) = self.of_variable(expr);
        let planned = self.scope.context.sql_to_expr(column, self.scope.schema);
        let planned = planned.map_err(|e| self.no_variable(expr).unwrap_or_else(|| located(e, span)))?;
        let name = shown(expr, steps);
        let read = Navigate::call(navigation(variables.clone(), steps), name, planned);
        *expr = self.replace(read, span);
        Ok(variables)
    }

    /// The variables that a column is of, and the column without them.
    fn of_variable(&self, expr: &SqlExpr) -> (Variables, SqlExpr) {
        if let SqlExpr::CompoundIdentifier(parts) = expr
            && let [variable, rest @ ..] = parts.as_slice()
            && let Some(variables) = self.scope.names.variables(&variable.value)
        {
            let column = match rest {
                [one] => SqlExpr::Identifier(one.clone()),
                more => SqlExpr::CompoundIdentifier(more.to_vec()),
            };
            return (variables, column);
        }
        (Variables::All, expr.clone())
    }

    /// What is wrong with a column that could not be planned, if it is of a variable that there is not.
    fn no_variable(&self, expr: &SqlExpr) -> Option<datafusion_common::DataFusionError> {
        let SqlExpr::CompoundIdentifier(parts) = expr else { return None };
        let name = parts.first().filter(|name| self.scope.names.variables(&name.value).is_none())?;
        let known = |c: Column| c.name == name.value || c.relation.is_some_and(|r| r.table() == name.value);
        let known = self.scope.schema.columns().into_iter().any(known);
        (!known).then(|| at(name.span, format!("PATTERN has no variable '{}'", name.value)))
    }

    /// An aggregate over the rows of the variable that its arguments are of.
    fn aggregate(&mut self, function: &Function, whole: bool) -> DfResult<SqlExpr> {
        let span = function.name.span();
        let name = function.to_string();
        let mut bare = function.clone();
        let mut of = None;
        if let FunctionArguments::List(list) = &mut bare.args {
            for arg in &mut list.args {
                // COUNT(A.*)
                if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(wildcard)) = arg
                    && let Some(variables) = self.wildcard(wildcard)
                {
                    of = Some(variables);
                    *arg = FunctionArg::Unnamed(FunctionArgExpr::Wildcard);
                }
            }
        }
        let mut expr = SqlExpr::Function(bare);
        let mut strip = Strip { reads: self, of };
        if let ControlFlow::Break(error) = expr.visit(&mut strip) {
            return Err(*error);
        }
        let variables = strip.of.unwrap_or(Variables::All);
        let planned = self.scope.context.sql_to_expr(expr, self.scope.schema).map_err(|e| located(e, span))?;
        let planned = planned.unalias();
        let Expr::AggregateFunction(_) = planned else {
            return Err(at(span, format!("{name} is no aggregate of a match's rows")));
        };
        let read = Over::call(variables, whole, name, planned);
        Ok(self.replace(read, span))
    }

    fn wildcard(&self, wildcard: &ObjectName) -> Option<Variables> {
        let [ObjectNamePart::Identifier(variable)] = wildcard.0.as_slice() else { return None };
        self.scope.names.variables(&variable.value)
    }
}

fn navigation(variables: Variables, steps: Steps) -> Navigation {
    let Steps { end, offset, shift, whole } = steps;
    Navigation { variables, end, offset, shift, whole }
}

/// A navigation as EXPLAIN and errors show it.
fn shown(expr: &SqlExpr, steps: Steps) -> String {
    let row = match (steps.end, steps.offset) {
        (End::Last, 0) => expr.to_string(),
        (End::Last, n) => format!("LAST({expr}, {n})"),
        (End::First, n) => format!("FIRST({expr}, {n})"),
    };
    match steps.shift {
        0 => row,
        shift if shift < 0 => format!("PREV({row}, {})", shift.unsigned_abs()),
        shift => format!("NEXT({row}, {shift})"),
    }
}

/// A constant number of rows.
fn rows(expr: &SqlExpr) -> Option<u64> {
    match expr {
        SqlExpr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok().filter(|n| *n <= u64::from(u32::MAX)),
            _ => None,
        },
        _ => None,
    }
}

/// Notes that an expression is of some variables, which must be the same throughout.
fn note(of: &mut Option<Variables>, variables: Variables, expr: &SqlExpr, what: &str) -> DfResult<()> {
    match of {
        Some(known) if *known != variables => {
            Err(at(expr.span(), format!("the columns of {what} must be of one variable")))
        }
        _ => {
            *of = Some(variables);
            Ok(())
        }
    }
}

/// Puts names into the place of the columns of one row.
struct Columns<'a, 'b, 'c> {
    reads: &'a mut Reads<'b, 'c>,
    steps: Steps,
    of: Option<Variables>,
}

impl VisitorMut for Columns<'_, '_, '_> {
    type Break = Box<datafusion_common::DataFusionError>;

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> Flow {
        let done = match expr {
            SqlExpr::Identifier(name) if name.value.starts_with(MARK) => Ok(()),
            SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => {
                let before = expr.clone();
                let column = self.reads.column(expr, self.steps);
                column.and_then(|variables| note(&mut self.of, variables, &before, "a navigation"))
            }
            SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. } => {
                Err(at(expr.span(), "subqueries have no place in MEASURES and DEFINE"))
            }
            _ => Ok(()),
        };
        done.map_or_else(|e| ControlFlow::Break(Box::new(e)), ControlFlow::Continue)
    }
}

/// Takes the variables away from the columns of an aggregate's arguments.
struct Strip<'a, 'b, 'c> {
    reads: &'a mut Reads<'b, 'c>,
    of: Option<Variables>,
}

impl VisitorMut for Strip<'_, '_, '_> {
    type Break = Box<datafusion_common::DataFusionError>;

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> Flow {
        let done = match expr {
            SqlExpr::CompoundIdentifier(_) | SqlExpr::Identifier(_) => {
                let (variables, column) = self.reads.of_variable(expr);
                let noted = note(&mut self.of, variables, expr, "an aggregate");
                *expr = column;
                noted
            }
            SqlExpr::Function(function) => match call(function).map(|(name, _)| name).as_deref() {
                Some("FIRST" | "LAST" | "PREV" | "NEXT" | "CLASSIFIER" | "MATCH_NUMBER") => {
                    Err(plan_datafusion_err!("a row of the match has no place in an aggregate of its rows"))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        };
        done.map_or_else(|e| ControlFlow::Break(Box::new(e)), ControlFlow::Continue)
    }
}
