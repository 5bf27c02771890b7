//! What Flink answers, asked once and kept: `flink_values.jsonl` holds expressions with Flink's type and value.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, Result, ScalarValue, TableReference};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::DataType as SqlType;
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use serde_json::Value;

use super::Functions;

/// The few types that the fixture casts to.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let data_type = match sql_type {
            SqlType::Timestamp(precision, _) => DataType::Timestamp(
                match precision.unwrap_or(6) {
                    0 => TimeUnit::Second,
                    1..=3 => TimeUnit::Millisecond,
                    4..=6 => TimeUnit::Microsecond,
                    _ => TimeUnit::Nanosecond,
                },
                None,
            ),
            SqlType::Time(..) => DataType::Time32(TimeUnit::Second),
            SqlType::Bytes(_) => DataType::Binary,
            SqlType::String(_) => DataType::Utf8,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("type", data_type, true))))
    }
}

struct Context {
    functions: Functions,
    options: ConfigOptions,
}

impl ContextProvider for Context {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        datafusion_common::plan_err!("no table {name}")
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.functions.expr_planners()
    }
    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar(name)
    }
    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order(name)
    }
    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate(name)
    }
    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window(name)
    }
    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        &self.options
    }
    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar_names().map(String::from).collect()
    }
    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Plans and evaluates an expression without columns.
fn evaluate(functions: &Functions, sql: &str) -> Result<ArrayRef, String> {
    let told = |e: &dyn std::fmt::Display| e.to_string();
    let dialect = GenericDialect {};
    let mut ast = Parser::new(&dialect)
        .try_with_sql(sql)
        .and_then(|mut p| {
            let e = p.parse_expr()?;
            p.expect_token(&datafusion_sql::sqlparser::tokenizer::Token::EOF)?;
            Ok(e)
        })
        .map_err(|e| format!("syntax: {e}"))?;
    functions.prepare(&mut ast);
    let context = Context { functions: functions.clone(), options: ConfigOptions::default() };
    let options = ParserOptions { parse_float_as_decimal: true, ..Default::default() };
    let planner = SqlToRel::new_with_options(&context, options);
    let schema = DFSchema::empty();
    let expr = planner.sql_to_expr(ast, &schema, &mut PlannerContext::new()).map_err(|e| told(&e))?;
    let expr = functions.analyze_expr(expr, &schema).map_err(|e| told(&e))?;
    run(expr, &schema).map_err(|e| told(&e))
}

fn run(expr: Expr, schema: &DFSchema) -> Result<ArrayRef> {
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let simplifier = ExprSimplifier::new(context);
    let expr = simplifier.simplify(simplifier.coerce(expr, schema)?)?;
    let planned = expr.get_type(schema)?;
    let physical =
        datafusion_physical_expr::create_physical_expr(&expr, schema, &ExecutionProps::new(), &Default::default())?;
    let batch = arrow::array::RecordBatch::try_new_with_options(
        Arc::new(arrow::datatypes::Schema::empty()),
        vec![],
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let array = physical.evaluate(&batch)?.into_array(1)?;
    assert_eq!(&planned, array.data_type(), "the type that was planned and the one that came");
    Ok(array)
}

/// A value as the fixture has it.
fn json(array: &ArrayRef) -> Value {
    if array.is_null(0) || *array.data_type() == DataType::Null {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Float64 => as_json(array.as_primitive::<Float64Type>().value(0)),
        DataType::Float32 => as_json(f64::from(array.as_primitive::<Float32Type>().value(0))),
        DataType::Boolean => Value::from(array.as_boolean().value(0)),
        t if t.is_integer() => {
            ScalarValue::try_from_array(array, 0).unwrap().to_string().parse::<i64>().map(Value::from).unwrap()
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(0);
            Value::Array((0..list.len()).map(|i| json(&list.slice(i, 1))).collect())
        }
        DataType::Struct(_) => Value::Array(array.as_struct().columns().iter().map(json).collect()),
        DataType::Map(..) => {
            let map = array.as_map().value(0);
            let text = |v: Value| v.as_str().map_or_else(|| v.to_string(), String::from);
            let entry = |i| (text(json(&map.column(0).slice(i, 1))), json(&map.column(1).slice(i, 1)));
            Value::Object((0..map.len()).map(entry).collect())
        }
        DataType::Binary => {
            let bytes = array.as_binary::<i32>().value(0);
            Value::from(format!("0x{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()))
        }
        DataType::Time32(_) | DataType::Time64(_) => Value::from(format!("{}.000", shown(array))),
        DataType::Timestamp(unit, zone) => {
            let fraction = if *unit == TimeUnit::Second { ".000" } else { "" };
            let text = shown(array).replace('T', " ");
            let text = text.trim_end_matches('Z');
            let fraction = if text.contains('.') {
                ""
            } else if fraction.is_empty() {
                ".000"
            } else {
                fraction
            };
            Value::from(format!("{text}{fraction}{}", if zone.is_some() { "Z" } else { "" }))
        }
        _ => Value::from(shown(array)),
    }
}

fn as_json(x: f64) -> Value {
    if x.is_finite() { Value::from(x) } else { Value::from(x.to_string()) }
}

fn shown(array: &ArrayRef) -> String {
    arrow::compute::cast(array, &DataType::Utf8).unwrap().as_string::<i32>().value(0).to_string()
}

/// Flink's name of a type, as far as Arrow keeps it apart: texts have no length.
fn type_name(data_type: &DataType) -> String {
    let precision = |unit: &TimeUnit| super::temporal::digits(*unit);
    match data_type {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 | DataType::Utf8View => "STRING".into(),
        DataType::Binary => "BYTES".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("TIME({})", precision(unit)),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", precision(unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", precision(unit)),
        DataType::Decimal128(p, s) => format!("DECIMAL({p}, {s})"),
        DataType::List(f) => format!("ARRAY<{}>", type_name(f.data_type())),
        other => other.to_string(),
    }
}

/// The fixture's type without nullability, and CHAR(n), VARCHAR(n) as STRING.
fn without_nullability(name: &str) -> String {
    let name = name.replace(" NOT NULL", "");
    let mut out = String::new();
    let mut rest = name.as_str();
    while let Some(at) = rest.find("CHAR(") {
        let end = rest[at..].find(')').map_or(rest.len(), |e| at + e + 1);
        out.push_str(rest[..at].trim_end_matches("VAR"));
        out.push_str("STRING");
        rest = &rest[end..];
    }
    out + rest
}

fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(a), Some(b)) => a == b || ((a - b) / b).abs() < 1e-14,
        _ => ours == theirs,
    }
}

/// What differs from Flink in one line of the fixture; nothing if nothing does.
fn difference(functions: &Functions, line: &Value) -> Option<String> {
    let sql = line["expr"].as_str().unwrap();
    match (evaluate(functions, sql), line.get("error")) {
        (Err(_), Some(_)) => None,
        (Err(e), None) => Some(format!("fails: {}", e.lines().next().unwrap_or_default())),
        (Ok(array), Some(e)) => Some(format!("gives {}, Flink refuses: {e}", json(&array))),
        (Ok(array), None) => {
            let theirs = line.get("type").and_then(Value::as_str).map(without_nullability);
            let ours = type_name(array.data_type());
            let value = json(&array);
            if !same(&value, &line["value"]) {
                return Some(format!("gives {value}, Flink {}", line["value"]));
            }
            let typed = !matches!(array.data_type(), DataType::Struct(_) | DataType::Map(..) | DataType::List(_));
            theirs.filter(|t| typed && *t != ours).map(|t| format!("is {ours}, in Flink {t}"))
        }
    }
}

#[test]
fn expressions_give_what_flink_gives() {
    let functions = Functions::flink();
    let known: BTreeMap<&str, &str> =
        include_str!("known_differences.tsv").lines().filter_map(|l| l.split_once('\t')).collect();
    let mut wrong = Vec::new();
    let mut lines = 0;
    for line in include_str!("flink_values.jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let sql = line["expr"].as_str().unwrap();
        lines += 1;
        match (difference(&functions, &line), known.get(sql)) {
            (Some(d), None) => wrong.push(format!("{sql}\n    {d}")),
            (None, Some(_)) => wrong.push(format!("{sql}\n    is listed as a difference and is none")),
            _ => {}
        }
    }
    assert!(lines > 400, "the fixture has {lines} lines");
    assert!(wrong.is_empty(), "{} of {lines}:\n{}", wrong.len(), wrong.join("\n"));
}

/// A query through planning, Flink's meaning and coercion: the names and types of its columns.
fn columns(sql: &str) -> Vec<(String, DataType)> {
    let functions = Functions::flink();
    let mut statements = Parser::parse_sql(&GenericDialect {}, sql).unwrap();
    functions.prepare(&mut statements);
    let context = Context { functions: functions.clone(), options: ConfigOptions::default() };
    let options = ParserOptions { parse_float_as_decimal: true, ..Default::default() };
    let plan = SqlToRel::new_with_options(&context, options).sql_statement_to_plan(statements.remove(0)).unwrap();
    let plan = functions.analyze(plan).unwrap();
    let plan = datafusion_optimizer::Analyzer::new().execute_and_check(plan, &context.options, |_, _| {}).unwrap();
    plan.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect()
}

#[test]
fn plans_keep_their_names_and_take_flinks_types() {
    let query = "SELECT k + 1 AS k, SUM(v) AS s, AVG(v * 2) AS a, COUNT(*) AS n, SUM(d) AS d, AVG(d / 3) AS q \
                 FROM (VALUES (1, 2, 1.50), (1, 3, 2.25)) AS t(k, v, d) GROUP BY k + 1 HAVING SUM(v) > 1 LIMIT 5";
    let expected = [
        ("k", DataType::Int32),
        ("s", DataType::Int32),
        ("a", DataType::Int32),
        ("n", DataType::Int64),
        ("d", DataType::Decimal128(38, 2)),
        ("q", DataType::Decimal128(38, 13)),
    ];
    assert_eq!(columns(query), expected.map(|(name, t)| (name.to_string(), t)));
}

#[test]
fn the_clock_of_the_step_is_what_functions_read() {
    let functions = Functions::for_session("Asia/Tokyo", crate::change::StepClock::default()).unwrap();
    functions.clock().set(1_614_900_000_000);
    let text = |sql| shown(&evaluate(&functions, sql).unwrap());
    assert_eq!(text("CAST(LOCALTIMESTAMP AS STRING)"), "2021-03-05 08:20:00.000");
    assert_eq!(text("CAST(CURRENT_TIMESTAMP AS STRING)"), "2021-03-05 08:20:00.000");
    assert_eq!(text("CURRENT_DATE"), "2021-03-05");
    assert_eq!(text("FROM_UNIXTIME(0)"), "1970-01-01 09:00:00");
    functions.clock().set(0);
    assert_eq!(text("UNIX_TIMESTAMP()"), "0");
}

#[test]
fn the_users_functions_win_and_names_have_no_case() {
    let mut functions = Functions::flink();
    let theirs = functions.scalar("reverse").unwrap().as_ref().clone().with_aliases(["Upper"]);
    functions.register_scalar(theirs);
    assert_eq!(shown(&evaluate(&functions, "upPER('abc')").unwrap()), "cba");
    assert!(functions.scalar("LOWER").is_some() && functions.aggregate("Count").is_some());
    assert!(functions.names().collect::<Vec<_>>().is_sorted());
}

#[test]
fn a_date_format_of_a_column_is_that_of_each_row() {
    use chrono::DateTime;
    use datafusion_expr::{ColumnarValue, ScalarFunctionArgs};

    let day = 86_400_000;
    let millis =
        [0, 1, day - 1, day, -1, -day, 1_436_918_399_999, 1_436_918_400_000, 59_999, 60_000, -60_001, 1].map(Some);
    let millis = [millis.as_slice(), &[None, Some(i64::MAX), Some(i64::MIN), Some(5)]].concat();
    let times: ArrayRef = Arc::new(arrow::array::TimestampMillisecondArray::from(millis.clone()));
    for pattern in ["yyyy-MM-dd", "HH:mm", "ss", "yyyy HH", "SSS", "mm:ss.SSS"] {
        let format = Functions::flink().scalar("date_format").unwrap();
        let field = |t: &DataType| Arc::new(Field::new("f", t.clone(), true));
        let pattern_value = ScalarValue::Utf8(Some(pattern.into()));
        let args = ScalarFunctionArgs {
            args: vec![ColumnarValue::Array(Arc::clone(&times)), ColumnarValue::Scalar(pattern_value)],
            arg_fields: vec![field(times.data_type()), field(&DataType::Utf8)],
            number_rows: times.len(),
            return_field: field(&DataType::Utf8),
            config_options: Arc::default(),
        };
        let texts = format.invoke_with_args(args).unwrap().into_array(times.len()).unwrap();
        let alone = |millis: &Option<i64>| {
            let time = DateTime::from_timestamp_millis((*millis)?)?.naive_utc();
            Some(super::format::Pattern::new(pattern)?.format(time))
        };
        let expected: Vec<_> = millis.iter().map(alone).collect();
        assert_eq!(
            texts.as_string::<i32>().iter().map(|t| t.map(String::from)).collect::<Vec<_>>(),
            expected,
            "{pattern}"
        );
    }
}
