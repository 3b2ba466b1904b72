//! A question to the store that has not been put yet: `.wait()` puts it from a plain thread, `.await` from a task.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use tokio::sync::oneshot;

use super::Store;
use super::error::StoreError;
use super::writer::{Job, Op};

/// Where the writer puts an answer, after the commit.
pub type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What has to be on the disk before the write.
pub type Prepare = Box<dyn FnOnce() -> Result<(), StoreError> + Send>;

type Read<T> = Box<dyn FnOnce() -> Result<T, StoreError> + Send>;

/// Does nothing until `.wait()` or `.await`. A write whose caller goes away is carried out all the same.
#[must_use = "nothing happens until .wait() or .await"]
pub struct Call<T>(Kind<T>);

enum Kind<T> {
    // The store itself, so that it stays open until the answer is there.
    Write { store: Store, op: Op, before: Option<Prepare>, answer: oneshot::Receiver<Result<T, StoreError>> },
    Read(Read<T>),
}

impl<T: Send + 'static> Call<T> {
    pub(super) fn write(store: Store, make: impl FnOnce(Reply<T>) -> Op) -> Self {
        let (reply, answer) = oneshot::channel();
        Self(Kind::Write { store, op: make(reply), before: None, answer })
    }

    /// Where it fails, nothing is written.
    pub(super) fn after(self, prepare: Prepare) -> Self {
        match self.0 {
            Kind::Write { store, op, answer, .. } => Self(Kind::Write { store, op, before: Some(prepare), answer }),
            read @ Kind::Read(_) => Self(read),
        }
    }

    pub(super) fn read(job: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Self {
        Self(Kind::Read(Box::new(job)))
    }

    /// Blocks this thread. Panics inside an async task: await there.
    pub fn wait(self) -> Result<T, StoreError> {
        match self.0 {
            Kind::Write { store, op, before, answer } => {
                before.map_or(Ok(()), |prepare| prepare())?;
                store.queue().blocking_send(Job { op, by: store.by.clone() }).map_err(|_| StoreError::Closed)?;
                answer.blocking_recv().unwrap_or(Err(StoreError::Closed))
            }
            Kind::Read(job) => job(),
        }
    }

    async fn run(self) -> Result<T, StoreError> {
        match self.0 {
            Kind::Write { store, op, before, answer } => {
                if let Some(prepare) = before {
                    tokio::task::spawn_blocking(prepare).await.unwrap_or(Err(StoreError::Closed))?;
                }
                store.queue().send(Job { op, by: store.by.clone() }).await.map_err(|_| StoreError::Closed)?;
                answer.await.unwrap_or(Err(StoreError::Closed))
            }
            Kind::Read(job) => tokio::task::spawn_blocking(job).await.unwrap_or(Err(StoreError::Closed)),
        }
    }
}

impl<T: Send + 'static> IntoFuture for Call<T> {
    type Output = Result<T, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
