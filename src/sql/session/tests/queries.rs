use super::*;

#[test]
fn columns_have_flinks_names_and_types() {
    let table = [
        ("SELECT auction, price + 1 FROM bid WHERE price > 100", "auction: Int64, EXPR$1: Int32"),
        ("SELECT *, price + 1, 1 FROM (SELECT price FROM bid)", "price: Int32, EXPR$1: Int32, EXPR$2: Int32"),
        ("SELECT 1.5 AS d, 1 AS i, 3000000000 AS b, 1e10 AS f", "d: Decimal128(2, 1), i: Int32, b: Int64, f: Float64"),
        ("VALUES (1, 'a')", "EXPR$0: Int32, EXPR$1: Utf8"),
        ("SELECT COUNT(*), MAX(price) AS m FROM bid", "EXPR$0: Int64, m: Int32"),
        ("SELECT bid.price FROM bid UNION ALL SELECT 1", "price: Int32"),
        ("SELECT bid.extra.url AS u, tags[1] AS t, attrs['k'] AS a FROM bid", "u: Utf8, t: Utf8, a: Int32"),
        ("SELECT CAST(price AS STRING), CAST(ts AS DATE) AS d FROM bid", "EXPR$0: Utf8, d: Date32"),
        ("SELECT price, price, bid.price FROM bid", "price: Int32, price0: Int32, price1: Int32"),
        ("SELECT price AS x, auction AS x, 1 AS x0 FROM bid", "x: Int32, x1: Int64, x0: Int32"),
        ("SELECT price + 1, price + 1 FROM bid", "EXPR$0: Int32, EXPR$1: Int32"),
        ("SELECT a0 FROM (SELECT price AS a, auction AS a FROM bid)", "a0: Int64"),
        ("WITH c AS (SELECT price FROM bid) SELECT price AS p FROM c", "p: Int32"),
    ];
    for (sql, expected) in table {
        assert_eq!(columns(&plan(&mut with_bid(), sql)).join(", "), expected, "{sql}");
    }
}

#[test]
fn window_functions_are_planned() {
    let table = [
        ("TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))", "TUMBLE(size=10s)"),
        ("TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))", "HOP(size=10s, slide=5s)"),
        (
            "TABLE(CUMULATE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '1' HOUR, INTERVAL '1' SECOND))",
            "CUMULATE(size=3600s, step=60s, offset=1s)",
        ),
        (
            "TABLE(HOP(DATA => TABLE bid, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '9' SECOND, SLIDE => INTERVAL '3' SECOND))",
            "HOP(size=9s, slide=3s)",
        ),
    ];
    for (from, expected) in table {
        let sql =
            format!("SELECT window_start, auction, COUNT(*) FROM {from} GROUP BY window_start, window_end, auction");
        let plan = plan(&mut with_bid(), &sql);
        let text = plan.display_indent().to_string();
        assert!(text.contains(&format!("WindowTableFunction(time=ts, {expected})")), "{from}: {text}");
        assert!(text.contains("Aggregate: groupBy="), "{text}");
    }
}

#[test]
fn windows_are_taken_of_views_and_ctes() {
    let mut session = with_bid();
    run(&mut session, "CREATE VIEW v AS SELECT auction, price, ts FROM bid WHERE price > 1;").unwrap();
    for from in ["v", "c"] {
        let sql = format!(
            "WITH c AS (SELECT * FROM v) SELECT window_start, auction, SUM(price) FILTER (WHERE price > 2) AS s, \
             COUNT(DISTINCT auction) AS d FROM TABLE(TUMBLE(TABLE {from}, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) \
             GROUP BY GROUPING SETS ((window_start, window_end), (window_start, window_end, auction))"
        );
        let plan = plan(&mut session, &sql);
        let text = plan.display_indent().to_string();
        assert!(text.contains("WindowTableFunction(time=ts") && text.contains("GROUPING SETS"), "{text}");
    }
}

#[test]
fn unnest_becomes_a_node_over_the_left_side() {
    let table = [
        ("SELECT auction, tag FROM bid CROSS JOIN UNNEST(tags) AS u(tag)", "auction: Int64, tag: Utf8"),
        ("SELECT auction, tag FROM bid, UNNEST(bid.tags) AS u(tag)", "auction: Int64, tag: Utf8"),
        ("SELECT u.tag FROM bid AS b LEFT JOIN UNNEST(b.extra.tags) AS u(tag) ON TRUE", "tag: Utf8"),
        ("SELECT u.sku, u.n FROM bid CROSS JOIN UNNEST(items) AS u", "sku: Utf8, n: Int32"),
        ("SELECT a, b FROM bid CROSS JOIN UNNEST(items) AS u(a, b)", "a: Utf8, b: Int32"),
        ("SELECT k, v FROM bid CROSS JOIN UNNEST(attrs) AS u(k, v)", "k: Utf8, v: Int32"),
        ("SELECT x FROM UNNEST(ARRAY[1, 2, 3]) AS u(x)", "x: Int32"),
    ];
    for (sql, expected) in table {
        let plan = plan(&mut with_bid(), sql);
        let text = plan.display_indent().to_string();
        assert_eq!(columns(&plan).join(", "), expected, "{sql}\n{text}");
        assert!(text.contains("Unnest: ") && !text.contains("Subquery:") && !text.contains("Join"), "{text}");
    }
}

#[test]
fn inserts_fit_the_query_to_the_table() {
    let mut session = with_bid();
    let sink = "CREATE TABLE sink (id BIGINT NOT NULL, price DECIMAL(10, 2), note STRING, twice AS price * 2,
        at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', pos BIGINT METADATA FROM 'offset' VIRTUAL
    ) WITH ('connector' = 'fake');";
    run(&mut session, sink).unwrap();
    let insert = run(&mut session, "INSERT INTO sink (price, id) SELECT price, auction FROM bid");
    let Ok(Outcome::Insert(inserts)) = insert else { panic!("{insert:?}") };
    let expected = "id: Int64, price: Decimal128(10, 2), note: Utf8, at: Timestamp(ms, \"UTC\")";
    assert_eq!(columns(&inserts[0].plan).join(", "), expected);
    let set = "EXECUTE STATEMENT SET BEGIN INSERT INTO sink SELECT auction, price, 'a', ts FROM bid;
        INSERT INTO sink (id) VALUES (1), (2); END;";
    let Ok(Outcome::Insert(inserts)) = run(&mut session, set) else { panic!("no inserts") };
    assert_eq!(inserts.len(), 2);
    let explained = run(&mut session, "EXPLAIN SELECT * FROM bid");
    assert!(matches!(explained, Ok(Outcome::Explain(inner)) if matches!(*inner, Outcome::Query(_))));
}

#[test]
fn views_are_put_in_where_they_are_used() {
    let mut session = with_bid();
    run(&mut session, "CREATE VIEW v (a, b) AS SELECT auction, price + 1 FROM bid; CREATE VIEW w AS SELECT b FROM v;")
        .unwrap();
    let plan = plan(&mut session, "SELECT * FROM w WHERE b > 3");
    assert_eq!(columns(&plan), ["b: Int32"]);
    assert!(plan.display_indent().to_string().contains("TableScan: bid"));
    run(&mut session, "DROP TABLE bid").unwrap();
    let error = refused(&mut session, "SELECT * FROM w");
    assert!(error.contains("the view 'w' cannot be used"), "{error}");
}

#[test]
fn constructors_of_rows_arrays_and_maps_are_planned() {
    let plan = plan(&mut session(), "SELECT ARRAY[1, 2] AS a, MAP['x', 1] AS m, ROW(1, 'x') AS r");
    let types: Vec<_> = plan.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    assert!(matches!(&types[0], DataType::List(f) if *f.data_type() == DataType::Int32), "{types:?}");
    assert!(matches!(&types[1], DataType::Map(..)), "{types:?}");
    assert!(matches!(&types[2], DataType::Struct(f) if f.len() == 2), "{types:?}");
}

#[test]
fn a_long_chain_of_terms_is_planned_and_a_longer_one_refused() {
    let chain = |n: usize| format!("SELECT price FROM bid WHERE {}", vec!["price = 1"; n].join(" OR "));
    assert_eq!(columns(&plan(&mut with_bid(), &chain(200))), ["price: Int32"]);
    assert!(run(&mut with_bid(), &chain(20_000)).is_err());
}

#[test]
fn views_that_double_at_each_step_are_refused() {
    let mut session = with_bid();
    run(&mut session, "CREATE VIEW v0 AS SELECT price FROM bid").unwrap();
    let doubled = |n: usize| format!("CREATE VIEW v{n} AS SELECT * FROM v{0} UNION ALL SELECT * FROM v{0}", n - 1);
    let last = (1..30).map(|n| run(&mut session, &doubled(n))).find_map(Result::err).map(|e| e.to_string());
    assert!(last.is_some_and(|e| e.contains("made of more than")));
}
