//! Tasks and keys in the store: what lists find, and what outlives a restart.

use face_edge::domain::UnixMs;
use face_edge::store::{Desired, KeyRow, OrderBy, Store, StoreError, TaskError, TaskQuery, TaskRow, TaskState};
use tempfile::TempDir;

fn task(id: &str, name: &str, created_at: i64) -> TaskRow {
    TaskRow {
        id: id.into(),
        project_id: "p1".into(),
        name: name.into(),
        creator: "admin".into(),
        service_version: "3.0".into(),
        edge_pool_id: "default".into(),
        file: None,
        desired: Desired::Start,
        state: TaskState { name: "PENDING".into(), error: None },
        index: 2,
        body: r#"{"unknown":{"kept":true}}"#.into(),
        created_at: UnixMs(created_at),
        updated_at: UnixMs(1000 - created_at),
    }
}

fn filled() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let other_version = TaskRow { service_version: "2.1".into(), ..task("a3", "gate 100%", 30) };
    let other_project = TaskRow { project_id: "p2".into(), ..task("b4", "Gate_1", 40) };
    let running = TaskRow { state: TaskState { name: "RUNNING".into(), error: None }, ..task("b2", "人脸_1", 20) };
    let rows = vec![task("a1", "Gate-1", 10), running, other_version, other_project, task("c5", r"back\slash", 50)];
    store.insert_tasks(rows).wait().unwrap();
    (dir, store)
}

/// Total, and the ids of the page.
fn ids(store: &Store, query: TaskQuery) -> (u64, Vec<String>) {
    let (total, rows) = store.tasks(query).wait().unwrap();
    (total, rows.into_iter().map(|row| row.id).collect())
}

#[test]
fn every_filter_and_order_of_the_list() {
    let (_dir, store) = filled();
    let all = TaskQuery::default;
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (all(), 5, "c5 b4 a3 b2 a1"),
        (TaskQuery { project_id: text("p1"), ..all() }, 4, "c5 a3 b2 a1"),
        (TaskQuery { service_version: text("2.1"), ..all() }, 1, "a3"),
        (TaskQuery { state: text("RUNNING"), ..all() }, 1, "b2"),
        (TaskQuery { name_like: text("gate"), ..all() }, 3, "b4 a3 a1"),
        (TaskQuery { name_like: text("%"), ..all() }, 1, "a3"),
        (TaskQuery { name_like: text("_"), ..all() }, 2, "b4 b2"),
        (TaskQuery { name_like: text("\\"), ..all() }, 1, "c5"),
        (TaskQuery { name_like: text("脸"), ..all() }, 1, "b2"),
        (TaskQuery { name_like: text("' OR 1=1 --"), ..all() }, 0, ""),
        (TaskQuery { id_like: text("a"), ..all() }, 2, "a3 a1"),
        (TaskQuery { created_since: Some(UnixMs(20)), created_until: Some(UnixMs(40)), ..all() }, 3, "b4 a3 b2"),
        (TaskQuery { order_by: OrderBy::Name, descending: false, ..all() }, 5, "a1 b4 c5 a3 b2"),
        (TaskQuery { order_by: OrderBy::UpdatedAt, ..all() }, 5, "a1 b2 a3 b4 c5"),
        (TaskQuery { offset: 1, limit: 2, ..all() }, 5, "b4 a3"),
        (TaskQuery { offset: 9, ..all() }, 5, ""),
    ];
    for (query, total, page) in cases {
        let page: Vec<String> = page.split_whitespace().map(str::to_owned).collect();
        assert_eq!(ids(&store, query.clone()), (total, page), "{query:?}");
    }
}

/// One that both ran and was to be forgotten would be forgotten while its camera plays.
#[test]
fn a_task_is_either_to_run_or_to_go() {
    const TASKS: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let ids: Vec<String> = (0..TASKS).map(|n| format!("{n:032x}")).collect();
    store.insert_tasks(ids.iter().map(|id| task(id, "t", 1)).collect()).wait().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| ids.iter().for_each(|id| assert!(store.mark_task_deleting(id).wait().unwrap())));
        loop {
            let now = store.tasks_to_run("default").wait().unwrap();
            let marked = now.deleting.len();
            assert_eq!(now.wanted.len() + marked, TASKS, "of all tasks, after {marked} were marked");
            if marked == TASKS {
                break;
            }
        }
    });
}

#[test]
fn a_task_is_given_back_as_it_was_put_in_after_a_restart_too() {
    let (dir, store) = filled();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.task("a1").wait().unwrap(), Some(task("a1", "Gate-1", 10)));
    assert_eq!(store.task("none").wait().unwrap(), None);
}

#[test]
fn the_api_changes_what_is_wanted_and_the_supervisor_what_is() {
    let (_dir, store) = filled();
    let error = TaskError { code: "IVA.0010".into(), message: "no picture".into() };
    let failed = TaskState { name: "ABNORMAL".into(), error: Some(error) };
    assert!(store.set_task_state("a1", failed.clone()).wait().unwrap());
    let renamed = TaskRow { body: "{}".into(), updated_at: UnixMs(77), ..task("a1", "new", 10) };
    assert!(store.update_task(renamed.clone()).wait().unwrap());
    assert!(store.set_task_desired("a1", Desired::Stop, UnixMs(78)).wait().unwrap());

    let expected = TaskRow { state: failed, desired: Desired::Stop, updated_at: UnixMs(78), ..renamed.clone() };
    assert_eq!(store.task("a1").wait().unwrap(), Some(expected));
    assert!(!store.delete_task("a1").wait().unwrap(), "it shall not go");
    assert!(store.mark_task_deleting("a1").wait().unwrap());
    assert!(!store.set_task_state("a1", TaskState { name: "RUNNING".into(), error: None }).wait().unwrap());
    assert_eq!(store.task("a1").wait().unwrap().unwrap().state.name, "DELETING");
    assert!(store.delete_task("a1").wait().unwrap());
    assert!(!store.delete_task("a1").wait().unwrap());
    assert!(!store.update_task(renamed).wait().unwrap());
    assert!(!store.set_task_desired("a1", Desired::Stop, UnixMs(78)).wait().unwrap());
}

#[test]
fn tasks_of_one_body_go_in_together_or_not_at_all() {
    let (_dir, store) = filled();
    let clash = store.insert_tasks(vec![task("new", "n", 1), task("a1", "again", 1)]).wait();
    assert!(matches!(clash, Err(StoreError::Conflict { .. })), "{clash:?}");
    assert_eq!(store.task("new").wait().unwrap(), None);
}

#[test]
fn keys_are_found_noted_and_revoked() {
    let (_dir, store) = filled();
    let key = KeyRow {
        id: "k1".into(),
        name: "console".into(),
        role: "admin".into(),
        hash: vec![0, 255, 7],
        sealed: Some(vec![1, 0]),
        created_at: UnixMs(5),
        revoked_at: None,
        last_used_at: None,
    };
    store.insert_key(key.clone()).wait().unwrap();
    assert!(matches!(store.insert_key(key.clone()).wait(), Err(StoreError::Conflict { .. })));
    assert_eq!(store.key("k1").wait().unwrap(), Some(key.clone()));
    assert!(store.touch_key("k1", UnixMs(8)).wait().unwrap());
    assert!(store.revoke_key("k1", UnixMs(9)).wait().unwrap());
    assert!(!store.revoke_key("k1", UnixMs(10)).wait().unwrap(), "the first time counts");
    let expected = KeyRow { revoked_at: Some(UnixMs(9)), last_used_at: Some(UnixMs(8)), ..key };
    assert_eq!(store.keys().wait().unwrap(), [expected]);
    assert_eq!(store.key("none").wait().unwrap(), None);
}
