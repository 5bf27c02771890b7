//! The columns that the functions of a window read.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_expr::Expr;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use crate::Result;
use crate::operator::calc::Calc;
use crate::plan::compile::{Compiler, column_index, physical};
use crate::runtime::circuit::{NodeId, NodeNotes};

/// The columns that functions read: the input's, and behind them computed ones.
#[derive(Clone)]
pub(super) struct Inputs<'a> {
    /// What names stand for: the first columns of the node.
    pub names: &'a DFSchema,
    pub before: SchemaRef,
    pub computed: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
}

impl Inputs<'_> {
    /// The column that holds an expression.
    pub fn column(&mut self, expr: &Expr) -> Result<usize> {
        let expr = physical(expr, self.names)?;
        if let Some(column) = column_index(&expr) {
            return Ok(column);
        }
        let first = self.before.fields().len();
        if let Some(known) = self.computed.iter().position(|(e, _)| e == &expr) {
            return Ok(first + known);
        }
        let name = format!("${}", self.computed.len());
        let field = Field::new(name, expr.data_type(&self.before)?, expr.nullable(&self.before)?);
        self.computed.push((expr, Arc::new(field)));
        Ok(first + self.computed.len() - 1)
    }

    /// An argument: a literal as it is, all else as a column.
    pub fn argument(&mut self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        match expr {
            Expr::Literal(..) => physical(expr, self.names),
            _ => self.column(expr).map(|c| self.reference(c)),
        }
    }

    pub fn reference(&self, column: usize) -> Arc<dyn PhysicalExpr> {
        let first = self.before.fields().len();
        let computed = || self.computed.get(column - first).map_or("", |(_, f)| f.name());
        let name = if column < first { self.before.field(column).name() } else { computed() };
        Arc::new(Column::new(name, column))
    }

    pub fn schema(&self) -> SchemaRef {
        let computed = self.computed.iter().map(|(_, field)| field);
        Arc::new(Schema::new(self.before.fields().iter().chain(computed).cloned().collect::<Vec<_>>()))
    }

    /// The node that gives all columns.
    pub fn compute(&self, compiler: &mut Compiler, node: NodeId) -> Result<NodeId> {
        if self.computed.is_empty() {
            return Ok(node);
        }
        let own = (0..self.before.fields().len()).map(|c| self.reference(c));
        let projection = own.chain(self.computed.iter().map(|(e, _)| Arc::clone(e))).collect();
        let notes = NodeNotes { detail: "arguments".into(), bound: None, ..compiler.circuit.node(node).notes.clone() };
        let calc = Calc::try_new(&self.before, None, projection, self.schema())?;
        Ok(compiler.operator(calc, vec![node], self.schema(), notes))
    }
}
