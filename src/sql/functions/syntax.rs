//! Forms of Flink's syntax that DataFusion does not plan, as forms that it does.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    AccessExpr, CastKind, CeilFloorKind, CharacterLength, DataType, DateTimeField, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, TypedString, Value, VisitMut,
    visit_expressions_mut,
};

/// Rewrites all expressions below `node`.
pub(super) fn prepare<V: VisitMut>(node: &mut V) {
    let _ = visit_expressions_mut(node, |expr| {
        one(expr);
        ControlFlow::<()>::Continue(())
    });
}

fn one(expr: &mut Expr) {
    match expr {
        Expr::Value(value) => {
            if let Value::Number(digits, _) = &value.value
                && digits.contains(['e', 'E'])
            {
                let value = Value::SingleQuotedString(digits.clone()).with_span(value.span);
                let data_type = DataType::DoublePrecision;
                *expr = Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false });
            }
        }
        Expr::TypedString(typed) => timestamp_precision(typed),
        // `INTERVAL '1.5' SECOND(1, 1)`: how many digits there may be.
        Expr::Interval(interval) => {
            (interval.leading_precision, interval.fractional_seconds_precision) = (None, None);
        }
        Expr::Ceil { expr: inner, field: CeilFloorKind::DateTimeField(field) } => {
            to_unit(inner, field, "ceil_to").into_iter().for_each(|new| *expr = new);
        }
        Expr::Floor { expr: inner, field: CeilFloorKind::DateTimeField(field) } => {
            to_unit(inner, field, "floor_to").into_iter().for_each(|new| *expr = new);
        }
        Expr::Function(function) => unit_argument(function),
        Expr::CompoundFieldAccess { access_chain, .. } => access_chain.iter_mut().for_each(field_by_name),
        Expr::Cast { data_type, kind: CastKind::Cast | CastKind::TryCast, .. } => {
            if let Some((name, length)) = cut_to(data_type) {
                *data_type = DataType::String(None);
                let inner = std::mem::replace(expr, text(""));
                let mut args = vec![inner, number(length)];
                if name == "rpad" {
                    args.push(text(" "));
                }
                *expr = call(name, args);
            }
        }
        _ => {}
    }
}

/// The field in `arr[1].field` is a name, not a column.
fn field_by_name(access: &mut AccessExpr) {
    if let AccessExpr::Dot(field) = access
        && let Expr::Identifier(name) = field
    {
        *field = text(&name.value);
    }
}

/// `TIMESTAMP '… 10:11:12.345'` is a TIMESTAMP(3): as many digits as are written.
fn timestamp_precision(typed: &mut TypedString) {
    if let DataType::Timestamp(precision @ None, _) = &mut typed.data_type
        && let Value::SingleQuotedString(s) = &typed.value.value
    {
        let digits = s.trim().rsplit_once('.').map_or(0, |(_, fraction)| fraction.len());
        *precision = u64::try_from(digits.min(9)).ok();
    }
}

fn to_unit(inner: &Expr, field: &DateTimeField, function: &str) -> Option<Expr> {
    (*field != DateTimeField::NoDateTime).then(|| call(function, vec![text(&field.to_string()), inner.clone()]))
}

/// The first argument of TIMESTAMPADD and TIMESTAMPDIFF is a word.
fn unit_argument(function: &mut Function) {
    let name = function.name.to_string();
    if !name.eq_ignore_ascii_case("timestampadd") && !name.eq_ignore_ascii_case("timestampdiff") {
        return;
    }
    if let FunctionArguments::List(list) = &mut function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.args.first_mut()
        && let Expr::Identifier(unit) = first
    {
        *first = text(&unit.value);
    }
}

/// The function that cuts a text to the length of a CHAR or VARCHAR.
fn cut_to(data_type: &DataType) -> Option<(&'static str, u64)> {
    match data_type {
        DataType::Char(length) | DataType::Character(length) => match length {
            Some(CharacterLength::IntegerLength { length, .. }) => Some(("rpad", *length)),
            None => Some(("rpad", 1)),
            Some(CharacterLength::Max) => None,
        },
        DataType::Varchar(Some(CharacterLength::IntegerLength { length, .. }))
        | DataType::CharacterVarying(Some(CharacterLength::IntegerLength { length, .. })) => {
            (*length < 0x7fff_ffff).then_some(("left", *length))
        }
        _ => None,
    }
}

fn text(s: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(s.to_string()).into())
}

fn number(n: u64) -> Expr {
    Expr::Value(Value::Number(n.to_string(), false).into())
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
