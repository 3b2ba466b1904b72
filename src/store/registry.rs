//! Tasks as people asked for them. The body is kept as it was given; what lists are filtered and ordered by stands in
//! columns of its own. The API changes what is desired, the supervisor what is.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params_from_iter};

use super::error::StoreError;
use crate::domain::UnixMs;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desired {
    Start,
    Stop,
}

impl Desired {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

/// Where a task stands, in the words of the API (`RUNNING`, `FAILED`, …).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskState {
    pub name: String,
    pub error: Option<TaskError>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskError {
    pub code: String,
    pub message: String,
}

#[derive(Clone, PartialEq, Eq)]
pub struct TaskRow {
    pub id: String,
    pub project_id: String,
    pub name: String,
    pub creator: String,
    pub service_version: String,
    /// The pool of boxes that may run it.
    pub edge_pool_id: String,
    /// The task file that it comes from; `None` where the interface made it.
    pub file: Option<String>,
    pub desired: Desired,
    pub state: TaskState,
    /// Position among the inputs of the body that made it.
    pub index: u32,
    /// JSON as it was given.
    pub body: String,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
}

impl std::fmt::Debug for TaskRow {
    /// Without the body: it may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskRow")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("desired", &self.desired)
            .field("state", &self.state.name)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrderBy {
    Name,
    #[default]
    CreatedAt,
    UpdatedAt,
}

/// Every filter that is given must hold. Both ends of the creation window are inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskQuery {
    /// All projects when absent: for the supervisor.
    pub project_id: Option<String>,
    pub service_version: Option<String>,
    pub state: Option<String>,
    /// Contained in the name, upper and lower ASCII letters alike; `%`, `_` and `\` stand for themselves.
    pub name_like: Option<String>,
    pub id_like: Option<String>,
    pub created_since: Option<UnixMs>,
    pub created_until: Option<UnixMs>,
    pub order_by: OrderBy,
    pub descending: bool,
    pub offset: u32,
    pub limit: u32,
}

impl Default for TaskQuery {
    /// The newest thousand.
    fn default() -> Self {
        Self {
            project_id: None,
            service_version: None,
            state: None,
            name_like: None,
            id_like: None,
            created_since: None,
            created_until: None,
            order_by: OrderBy::CreatedAt,
            descending: true,
            offset: 0,
            limit: 1000,
        }
    }
}

/// All or none.
pub fn insert(connection: &Connection, rows: &[TaskRow]) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO tasks (id, project_id, name, creator, service_version, edge_pool_id, file, desired, state,
                            error_code, error_msg, input_index, body, created_at, updated_at)
         VALUES (:id, :project_id, :name, :creator, :service_version, :edge_pool_id, :file, :desired, :state,
                 :error_code, :error_msg, :input_index, :body, :created_at, :updated_at)",
    )?;
    for row in rows {
        statement.execute(named_params! {
            ":id": row.id, ":project_id": row.project_id, ":name": row.name, ":creator": row.creator,
            ":service_version": row.service_version, ":edge_pool_id": row.edge_pool_id, ":file": row.file,
            ":desired": row.desired.as_str(), ":state": row.state.name,
            ":error_code": row.state.error.as_ref().map(|e| &e.code),
            ":error_msg": row.state.error.as_ref().map(|e| &e.message),
            ":input_index": row.index, ":body": row.body, ":created_at": row.created_at.0,
            ":updated_at": row.updated_at.0,
        })?;
    }
    Ok(())
}

/// Replaces what the API owns of a task: name, version, body, desired state. One that was over by itself may run
/// again. False where there is no such task.
pub fn update(connection: &Connection, row: &TaskRow) -> Result<bool, StoreError> {
    let changed = connection.execute(
        "UPDATE tasks SET name = :name, service_version = :service_version, edge_pool_id = :edge_pool_id,
                          desired = :desired, body = :body, input_index = :input_index, updated_at = :updated_at,
                          state = CASE WHEN desired = 'start' AND state IN ('SUCCEEDED', 'FAILED', 'START_FAILED')
                                       THEN 'PENDING' ELSE state END
         WHERE id = :id AND deleting = 0",
        named_params! {
            ":id": row.id, ":name": row.name, ":service_version": row.service_version,
            ":edge_pool_id": row.edge_pool_id, ":desired": row.desired.as_str(), ":body": row.body,
            ":input_index": row.index, ":updated_at": row.updated_at.0,
        },
    )?;
    Ok(changed > 0)
}

/// Only one that shall go: its file may have come back in the meantime.
pub fn delete(connection: &Connection, id: &str) -> Result<bool, StoreError> {
    Ok(connection.execute("DELETE FROM tasks WHERE id = ?1 AND deleting = 1", [id])? > 0)
}

/// One that shall go stays DELETING until it is gone.
pub fn set_state(connection: &Connection, id: &str, state: &TaskState) -> Result<bool, StoreError> {
    let error = state.error.as_ref();
    let changed = connection.execute(
        "UPDATE tasks SET state = ?2, error_code = ?3, error_msg = ?4 WHERE id = ?1 AND deleting = 0",
        (id, &state.name, error.map(|e| &e.code), error.map(|e| &e.message)),
    )?;
    Ok(changed > 0)
}

/// A task that shall start is pending until the supervisor says otherwise, also one that was over. One that shall stop
/// and of which nothing runs is stopped at once.
pub fn set_desired(connection: &Connection, id: &str, desired: Desired, now: UnixMs) -> Result<bool, StoreError> {
    let changed = connection.execute(
        "UPDATE tasks SET desired = ?2, updated_at = ?3,
                          state = CASE WHEN ?2 = 'start' AND state IN ('SUCCEEDED', 'FAILED', 'START_FAILED', 'STOPPED')
                                       THEN 'PENDING'
                                       WHEN ?2 = 'stop' AND state IN ('SUCCEEDED', 'FAILED', 'START_FAILED', 'PENDING',
                                                                      'LACK_OF_RESOURCES', 'FROZEN')
                                       THEN 'STOPPED' ELSE state END
         WHERE id = ?1 AND deleting = 0",
        (id, desired.as_str(), now.0),
    )?;
    Ok(changed > 0)
}

pub fn get(connection: &Connection, id: &str) -> Result<Option<TaskRow>, StoreError> {
    Ok(connection.prepare_cached("SELECT * FROM tasks WHERE id = ?1")?.query_row([id], read).optional()?)
}

/// How many match, and the page of them.
pub fn list(connection: &Connection, query: &TaskQuery) -> Result<(u64, Vec<TaskRow>), StoreError> {
    let (filter, mut values) = filter(query);
    let total: i64 =
        connection.prepare_cached(&count(query, &filter))?.query_row(params_from_iter(&values), |row| row.get(0))?;
    let window = Window::new(query, total);
    values.extend([Value::from(window.limit), Value::from(window.offset)]);
    let mut statement = connection.prepare_cached(&page(query, &filter, window.backwards))?;
    let mut rows = statement.query_map(params_from_iter(&values), read)?.collect::<Result<Vec<_>, _>>()?;
    if window.backwards {
        rows.reverse();
    }
    Ok((u64::try_from(total).unwrap_or(0), rows))
}

/// The rows of a page, counted from the nearer end: those before it have to be walked over.
struct Window {
    backwards: bool,
    offset: i64,
    limit: i64,
}

impl Window {
    fn new(query: &TaskQuery, total: i64) -> Self {
        let offset = i64::from(query.offset).min(total);
        let limit = i64::from(query.limit).min(total - offset);
        let behind = total - offset - limit;
        if behind < offset {
            return Self { backwards: true, offset: behind, limit };
        }
        Self { backwards: false, offset, limit }
    }
}

/// Where only project, state and version are compared, the numbers are there; else the matching entries of an index
/// are counted.
fn count(query: &TaskQuery, filter: &str) -> String {
    let searched = query.name_like.is_some() || query.id_like.is_some();
    if searched || query.created_since.is_some() || query.created_until.is_some() {
        return format!("SELECT count(*) FROM tasks {filter}");
    }
    format!("SELECT coalesce(sum(tasks), 0) FROM task_counts {filter}")
}

fn page(query: &TaskQuery, filter: &str, backwards: bool) -> String {
    let column = match query.order_by {
        OrderBy::Name => "name",
        OrderBy::CreatedAt => "created_at",
        OrderBy::UpdatedAt => "updated_at",
    };
    let direction = if query.descending != backwards { "DESC" } else { "ASC" };
    format!("SELECT * FROM tasks {filter} ORDER BY {column} {direction}, id {direction} LIMIT ? OFFSET ?")
}

fn filter(query: &TaskQuery) -> (String, Vec<Value>) {
    let text = |value: &Option<String>| value.clone().map(Value::from);
    let like = |value: &Option<String>| value.as_deref().map(|v| Value::from(contains(v)));
    let conditions = [
        ("project_id = ?", text(&query.project_id)),
        ("service_version = ?", text(&query.service_version)),
        ("state = ?", text(&query.state)),
        ("name LIKE ? ESCAPE '\\'", like(&query.name_like)),
        ("id LIKE ? ESCAPE '\\'", like(&query.id_like)),
        ("created_at >= ?", query.created_since.map(|t| Value::from(t.0))),
        ("created_at <= ?", query.created_until.map(|t| Value::from(t.0))),
    ];
    let given: Vec<_> = conditions.into_iter().filter_map(|(sql, value)| value.map(|v| (sql, v))).collect();
    let (parts, values): (Vec<_>, Vec<_>) = given.into_iter().unzip();
    let sql = if parts.is_empty() { String::new() } else { format!("WHERE {}", parts.join(" AND ")) };
    (sql, values)
}

/// A LIKE pattern for text that contains `literal`.
pub(super) fn contains(literal: &str) -> String {
    let mut pattern = String::with_capacity(literal.len() + 2);
    pattern.push('%');
    for c in literal.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    let code: Option<String> = row.get("error_code")?;
    let message: Option<String> = row.get("error_msg")?;
    let desired: String = row.get("desired")?;
    Ok(TaskRow {
        id: row.get("id")?,
        project_id: row.get("project_id")?,
        name: row.get("name")?,
        creator: row.get("creator")?,
        service_version: row.get("service_version")?,
        edge_pool_id: row.get("edge_pool_id")?,
        file: row.get("file")?,
        desired: if desired == Desired::Start.as_str() { Desired::Start } else { Desired::Stop },
        state: TaskState {
            name: row.get("state")?,
            error: code.map(|code| TaskError { code, message: message.unwrap_or_default() }),
        },
        index: row.get("input_index")?,
        body: row.get("body")?,
        created_at: UnixMs(row.get("created_at")?),
        updated_at: UnixMs(row.get("updated_at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrations;

    fn plan(c: &Connection, sql: &str, values: &[Value]) -> String {
        let mut statement = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    fn row(n: u32) -> TaskRow {
        TaskRow {
            id: format!("{n:032x}"),
            project_id: format!("p{}", n % 3),
            name: "t".into(),
            creator: "k".into(),
            service_version: format!("{}.0", n % 2),
            edge_pool_id: "default".into(),
            file: None,
            desired: Desired::Start,
            state: TaskState { name: "PENDING".into(), error: None },
            index: 0,
            body: "{}".into(),
            created_at: UnixMs(0),
            updated_at: UnixMs(0),
        }
    }

    fn queries() -> Vec<TaskQuery> {
        let text = |text: &str| Some(text.to_owned());
        let ours = TaskQuery { project_id: text("p"), limit: 50, ..TaskQuery::default() };
        vec![
            ours.clone(),
            TaskQuery { state: text("RUNNING"), ..ours.clone() },
            TaskQuery { service_version: text("3.0"), ..ours.clone() },
            TaskQuery { name_like: text("door"), ..ours.clone() },
            TaskQuery { id_like: text("0a"), ..ours.clone() },
            TaskQuery { state: text("RUNNING"), name_like: text("door"), ..ours.clone() },
            TaskQuery { created_since: Some(UnixMs(1)), created_until: Some(UnixMs(9)), ..ours },
        ]
    }

    /// Whatever is asked: the page comes out of an index in its order, and a count reads no row of the table.
    #[test]
    fn lists_are_found_by_an_index_and_not_sorted() {
        let c = Connection::open_in_memory().unwrap();
        migrations::migrate(&c).unwrap();
        for base in queries() {
            for order_by in [OrderBy::Name, OrderBy::CreatedAt, OrderBy::UpdatedAt] {
                for descending in [false, true] {
                    let query = TaskQuery { order_by, descending, ..base.clone() };
                    let (sql, mut values) = filter(&query);
                    let counted = plan(&c, &count(&query, &sql), &values);
                    let by_numbers = counted.starts_with("SEARCH task_counts USING PRIMARY KEY (project_id=?");
                    let by_index = counted.starts_with("SEARCH tasks USING COVERING INDEX tasks_by_");
                    assert!(by_numbers || by_index, "{query:?}: {counted}");
                    values.extend([Value::from(50), Value::from(0)]);
                    let page = plan(&c, &page(&query, &sql, false), &values);
                    assert!(page.starts_with("SEARCH tasks USING INDEX tasks_by_"), "{query:?}: {page}");
                    let in_window = query.created_since.is_some() && order_by != OrderBy::CreatedAt;
                    assert!(in_window || !page.contains("TEMP B-TREE"), "{query:?}: {page}");
                }
            }
        }
    }

    #[test]
    fn a_page_is_the_same_from_either_end() {
        let c = Connection::open_in_memory().unwrap();
        migrations::migrate(&c).unwrap();
        let rows: Vec<_> = (0..10).map(row).collect();
        insert(&c, &rows).unwrap();
        let all = TaskQuery { descending: false, ..TaskQuery::default() };
        for (offset, limit) in (0..13).flat_map(|offset| (1..13).map(move |limit| (offset, limit))) {
            let (total, page) = list(&c, &TaskQuery { offset, limit, ..all.clone() }).unwrap();
            let expected: Vec<_> = rows.iter().skip(offset as usize).take(limit as usize).cloned().collect();
            assert_eq!((total, page), (10, expected), "{offset} {limit}");
        }
    }

    #[test]
    fn the_numbers_that_are_kept_are_those_that_counting_gives() {
        let c = Connection::open_in_memory().unwrap();
        migrations::migrate(&c).unwrap();
        let rows: Vec<_> = (0..60).map(row).collect();
        insert(&c, &rows).unwrap();
        for (n, row) in rows.iter().enumerate() {
            let running = TaskState { name: ["RUNNING", "STOPPED"][n % 2].into(), error: None };
            set_state(&c, &row.id, &running).unwrap();
            update(&c, &TaskRow { service_version: format!("{}.1", n % 4), ..row.clone() }).unwrap();
            if n % 5 == 0 {
                c.execute("UPDATE tasks SET deleting = 1, state = 'DELETING' WHERE id = ?1", [&row.id]).unwrap();
                delete(&c, &row.id).unwrap();
            }
        }
        let all = |sql: &str| {
            let mut statement = c.prepare(sql).unwrap();
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            let rows = statement.query_map([], read).unwrap().map(Result::unwrap);
            rows.collect::<Vec<(String, String, String, i64)>>()
        };
        let counted =
            all("SELECT project_id, state, service_version, count(*) FROM tasks GROUP BY 1, 2, 3 ORDER BY 1, 2, 3");
        assert_eq!(all("SELECT * FROM task_counts ORDER BY 1, 2, 3"), counted);
        assert!(counted.len() > 6);
    }
}
