//! Conditions.

use arrow::array::AsArray;
use arrow::compute::kernels::numeric::rem;
use arrow::compute::kernels::zip::zip;
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};
use datafusion_expr::ColumnarValue;
use datafusion_expr::type_coercion::binary::type_union_resolution;

use super::define::Kind::{Any, Bool, Common};
use super::define::{Call, Def, Given, def};

/// The functions of this file.
pub(super) fn functions() -> Vec<Def> {
    vec![
        def(&["if"], &[Bool, Any, Any], branches, choose),
        def(&["mod"], &[Common, Common], |g| Ok(g.type_of(0)), modulo),
    ]
}

fn branches(given: &Given) -> Result<DataType> {
    match type_union_resolution(given.types.get(1..).unwrap_or_default()) {
        Some(common) => Ok(common),
        None => plan_err!("the branches of IF have no type in common"),
    }
}

fn choose(c: &Call) -> Result<ColumnarValue> {
    let mask = c.full_array(0)?;
    let mask = prep_null_mask_filter(mask.as_boolean());
    let branch = |index| {
        Ok::<_, datafusion_common::DataFusionError>(arrow::compute::cast(&c.full_array(index)?, c.args.return_type())?)
    };
    c.answer(zip(&mask, &branch(1)?, &branch(2)?)?)
}

fn modulo(c: &Call) -> Result<ColumnarValue> {
    c.answer(rem(&c.full_array(0)?, &c.full_array(1)?)?)
}
