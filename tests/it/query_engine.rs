//! The query engine against a model that walks over rows, and traversal while rows come and go.

use std::cmp::Ordering;
use std::collections::HashSet;

use face_edge::domain::UnixMs;
use face_edge::store::licences::{SN_USERS, SNS};
use face_edge::store::{
    Cell, ChannelRequest, Condition, Criteria, LicenceChange, NewProduct, NewSns, Operand, Owner, QueryOp, Record,
    Search, SnScope, SnTerms, Sort, Store, TIME_FORMAT,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const QUERIES: u32 = 10_000;
const NAMES: [&str; 9] = [
    "sn",
    "status",
    "type",
    "regDate",
    "activeDate",
    "updateTime",
    "expirationDays",
    "concurrentNumber",
    "productName",
];
const PRODUCTS: [&str; 4] = ["Alpha", "alphabet", "Ärger_1", "b%eta"];
const TYPES: [&str; 3] = ["LOCAL", "Cloud", "GROUP"];

fn is_time(name: &str) -> bool {
    ["regDate", "activeDate", "updateTime"].contains(&name)
}

fn is_text(name: &str) -> bool {
    ["sn", "type", "productName"].contains(&name)
}

fn change(store: &Store, change: LicenceChange, at_s: i64) -> Vec<Record> {
    let done = store.change_licences(change, None, UnixMs(at_s * 1000)).wait().unwrap();
    assert!(done.refused.is_empty(), "{:?}", done.refused);
    done.records
}

fn new_sns(product: &str, sns: &[String]) -> NewSns {
    NewSns {
        sns: sns.to_vec(),
        product: product.to_owned(),
        template: "Default".to_owned(),
        kind: "LOCAL".to_owned(),
        ..NewSns::default()
    }
}

/// Rows that repeat each other's values often, so that conditions and sorts meet ties.
fn filled(rows: usize) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for name in PRODUCTS {
        let product = NewProduct { name: name.to_owned(), guid: name.to_owned(), ..NewProduct::default() };
        change(&store, LicenceChange::AddProduct(product), 0);
    }
    let mut chance = StdRng::seed_from_u64(7);
    for row in 0..rows {
        let letters: String = (0..3).map(|_| *['a', 'A', 'b', '_', '%', 'é'].choose(&mut chance).unwrap()).collect();
        let sn = format!("{letters}{row}");
        let at_s = 86_400 * chance.random_range(0..5) + chance.random_range(0..2);
        let terms = SnTerms {
            status: Some(chance.random_range(0..3)),
            expiration_days: Some(chance.random_bool(0.7).then(|| chance.random_range(0..6))),
            concurrent_number: Some(chance.random_bool(0.7).then(|| chance.random_range(0..6))),
            users_number: None,
        };
        let kind = TYPES.choose(&mut chance).unwrap().to_string();
        let product = PRODUCTS.choose(&mut chance).unwrap();
        let new = NewSns { terms, kind, ..new_sns(product, std::slice::from_ref(&sn)) };
        change(&store, LicenceChange::GenerateSns(new), at_s);
        let request = ChannelRequest { task_id: sn.clone(), sn: Some(sn), node: "box".to_owned() };
        store.take_channel(request, UnixMs(at_s * 1000)).wait().unwrap();
    }
    (dir, store)
}

/// All rows in their ids' order, each with its product's name.
fn all(store: &Store) -> Vec<Record> {
    let scope = SnScope { product: true, ..SnScope::default() };
    let mut rows = store.sns(Search::traverse(&SNS, 0, 1000).unwrap(), scope).wait().unwrap().records;
    for row in &mut rows {
        let Some(Cell::Record(product)) = row.get("product") else { panic!("{row:?}") };
        let name = product.get("productName").unwrap().clone();
        row.cells.push(("productName".to_owned(), name));
    }
    rows
}

/// A value as the model knows it.
#[derive(Debug, Clone, PartialEq)]
enum Known {
    Text(String),
    Number(f64),
}

fn known(row: &Record, name: &str) -> Option<Known> {
    row.get(name).map(|cell| match cell {
        Cell::Text(text) => Known::Text(text.to_ascii_lowercase()),
        Cell::Integer(n) => Known::Number(*n as f64),
        Cell::Time { unix_s } => Known::Number(*unix_s as f64),
        other => panic!("{other:?}"),
    })
}

fn shown(row: &Record, name: &str) -> Option<String> {
    row.get(name).map(|cell| match cell {
        Cell::Text(text) => text.clone(),
        Cell::Integer(n) => n.to_string(),
        Cell::Time { unix_s } => date(*unix_s),
        other => panic!("{other:?}"),
    })
}

fn date(unix_s: i64) -> String {
    chrono::DateTime::from_timestamp(unix_s, 0).unwrap().format(TIME_FORMAT).to_string()
}

fn text_of(operand: &Operand) -> String {
    match operand {
        Operand::Text(text) => text.clone(),
        Operand::Integer(n) => n.to_string(),
        Operand::Real(n) => n.to_string(),
    }
}

fn meant(name: &str, operand: &Operand) -> Known {
    let text = text_of(operand);
    if is_text(name) {
        return Known::Text(text.to_ascii_lowercase());
    }
    if is_time(name) {
        let padded = if text.len() == 10 { format!("{text} 00:00:00") } else { text };
        let time = chrono::NaiveDateTime::parse_from_str(&padded, TIME_FORMAT).unwrap();
        return Known::Number(time.and_utc().timestamp() as f64);
    }
    Known::Number(text.parse().unwrap())
}

fn compare(a: &Known, b: &Known) -> Ordering {
    match (a, b) {
        (Known::Text(a), Known::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Known::Number(a), Known::Number(b)) => a.total_cmp(b),
        _ => panic!("{a:?} and {b:?}"),
    }
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|skip| like(&text[skip..], rest)),
        Some((p, rest)) => {
            text.split_first().is_some_and(|(t, text)| (*p == '_' || t.eq_ignore_ascii_case(p)) && like(text, rest))
        }
    }
}

fn holds(row: &Record, condition: &Condition) -> bool {
    let name = &condition.name;
    let Some(value) = known(row, name) else { return condition.op == QueryOp::Differs };
    let any = |accept: fn(Ordering) -> bool| {
        condition.values.iter().any(|operand| accept(compare(&value, &meant(name, operand))))
    };
    match condition.op {
        QueryOp::Greater => any(Ordering::is_gt),
        QueryOp::AtLeast => any(Ordering::is_ge),
        QueryOp::Equal => any(Ordering::is_eq),
        QueryOp::Less => any(Ordering::is_lt),
        QueryOp::AtMost => any(Ordering::is_le),
        QueryOp::Differs => !any(Ordering::is_eq),
        QueryOp::Like => {
            let text: Vec<char> = shown(row, name).unwrap().chars().collect();
            condition.values.iter().any(|operand| like(&text, &text_of(operand).chars().collect::<Vec<_>>()))
        }
    }
}

/// Total, and the page's ids.
fn model(rows: &[Record], criteria: &Criteria) -> (u64, Vec<i64>) {
    let mut found: Vec<_> = rows.iter().filter(|row| criteria.querys.iter().all(|c| holds(row, c))).collect();
    found.sort_by(|a, b| {
        let by = criteria.sorts.iter().map(|sort| {
            let order = match (known(a, &sort.name), known(b, &sort.name)) {
                (Some(a), Some(b)) => compare(&a, &b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            };
            if sort.descending { order.reverse() } else { order }
        });
        let last = criteria.sorts.last().is_some_and(|sort| sort.descending);
        let tie = if last { b.id.cmp(&a.id) } else { a.id.cmp(&b.id) };
        by.fold(Ordering::Equal, Ordering::then).then(tie)
    });
    let page = found.iter().skip(criteria.offset as usize).take(criteria.limit as usize).map(|row| row.id);
    (found.len() as u64, page.collect())
}

fn value_for(name: &'static str, op: QueryOp, taken: Vec<String>) -> BoxedStrategy<Operand> {
    let own = prop::sample::select(taken).prop_map(Operand::Text);
    let pattern = if is_time(name) { "[0-9%_-]{0,4}%?" } else { "[aAb1L%_é]{0,4}" };
    if op == QueryOp::Like {
        return prop_oneof![own, pattern.prop_map(Operand::Text), (0i64..40).prop_map(Operand::Integer)].boxed();
    }
    match name {
        name if is_text(name) => {
            prop_oneof![own, "[aAbBé%_]{0,3}".prop_map(Operand::Text), (0i64..40).prop_map(Operand::Integer)].boxed()
        }
        name if is_time(name) => {
            let day = (0i64..6).prop_map(|day| Operand::Text(date(day * 86_400)[..10].to_owned()));
            prop_oneof![own, day].boxed()
        }
        _ => {
            let text = (-1i64..7).prop_map(|n| Operand::Text(n.to_string()));
            let real = (0i64..12).prop_map(|n| Operand::Real(n as f64 / 2.0));
            prop_oneof![text, (-1i64..7).prop_map(Operand::Integer), real].boxed()
        }
    }
}

fn condition(rows: &[Record]) -> impl Strategy<Value = Condition> + use<> {
    let taken: Vec<Vec<String>> =
        NAMES.iter().map(|name| rows.iter().filter_map(|row| shown(row, name)).collect()).collect();
    (0..NAMES.len(), prop::sample::select(QueryOp::ALL.to_vec())).prop_flat_map(move |(index, op)| {
        let name = NAMES[index];
        let values = prop::collection::vec(value_for(name, op, taken[index].clone()), 1..4);
        values.prop_map(move |values| Condition { name: name.to_owned(), op, values })
    })
}

fn criteria(rows: &[Record]) -> impl Strategy<Value = Criteria> + use<> {
    let sort = (prop::sample::select(NAMES.to_vec()), any::<bool>())
        .prop_map(|(name, descending)| Sort { name: name.to_owned(), descending });
    let querys = prop::collection::vec(condition(rows), 0..4);
    (querys, prop::collection::vec(sort, 0..3), 0u32..40, 1u32..60)
        .prop_map(|(querys, sorts, offset, limit)| Criteria { querys, sorts, offset, limit })
}

#[test]
fn the_engine_agrees_with_a_model_over_random_queries() {
    let (_dir, store) = filled(100);
    let rows = all(&store);
    assert_eq!(rows.len(), 101, "the default licence stands first");
    let found = std::cell::Cell::new(0u64);
    let mut runner = TestRunner::new(Config { cases: QUERIES, failure_persistence: None, ..Config::default() });
    let agreed = runner.run(&criteria(&rows), |criteria| {
        let search = Search::new(&SNS, &criteria).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
        let page = store.sns(search, SnScope::default()).wait().unwrap();
        let ids: Vec<i64> = page.records.iter().map(|row| row.id).collect();
        prop_assert_eq!((page.total, ids), model(&rows, &criteria));
        found.set(found.get() + u64::from(page.total > 0 && page.total < 101));
        Ok(())
    });
    agreed.unwrap_or_else(|error| panic!("{error}"));
    assert!(found.get() > u64::from(QUERIES) / 4, "only {} queries told rows apart", found.get());
}

#[test]
fn a_hundred_and_twenty_rows_come_in_three_calls() {
    let (_dir, store) = filled(119);
    let mut ids = Vec::new();
    for (offset, expected) in [(0, 50), (50, 50), (100, 20), (150, 0)] {
        let search = Search::new(&SNS, &Criteria { offset, ..Criteria::default() }).unwrap();
        let page = store.sns(search, SnScope::default()).wait().unwrap();
        assert_eq!((page.total, page.records.len()), (120, expected), "at offset {offset}");
        ids.extend(page.records.iter().map(|row| row.id));
    }
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "each once, in order: {ids:?}");
}

#[test]
fn no_row_comes_twice_while_others_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for seed in 0..40u64 {
        let mut chance = StdRng::seed_from_u64(seed);
        let sn = format!("SN{seed}");
        change(&store, LicenceChange::GenerateSns(new_sns("demo", std::slice::from_ref(&sn))), 0);
        let user = |number: u32| (format!("u{seed}-{number}"), format!("guid{seed}-{number}"));
        let link = |numbers: Vec<u32>| {
            let users = numbers.into_iter().map(user).collect();
            change(&store, LicenceChange::LinkUsers { sn: sn.clone(), users }, 0);
        };
        let (mut here, mut next) = ((0..60).collect::<Vec<u32>>(), 60);
        link(here.clone());
        let (limit, mut offset, mut seen) = (chance.random_range(1..20), 0, HashSet::new());
        loop {
            let search = Search::traverse(&SN_USERS, offset, limit).unwrap();
            let page = store.owned(search, Owner::Sn(sn.clone())).wait().unwrap().unwrap();
            for row in &page.records {
                assert!(seen.insert(row.id), "seed {seed}: {row:?} came twice");
            }
            offset += limit;
            if page.records.is_empty() || next > 200 {
                break;
            }
            let gone: Vec<u32> = here.iter().copied().filter(|_| chance.random_bool(0.1)).collect();
            here.retain(|number| !gone.contains(number));
            if !gone.is_empty() {
                let names = gone.into_iter().map(|number| user(number).0).collect();
                change(&store, LicenceChange::UnlinkUsers { sn: sn.clone(), names }, 0);
            }
            let new: Vec<u32> = (next..next + chance.random_range(1..5)).collect();
            next += new.len() as u32;
            here.extend(&new);
            link(new);
        }
        assert!(seen.len() > 20, "seed {seed}: only {} rows were seen", seen.len());
    }
}
