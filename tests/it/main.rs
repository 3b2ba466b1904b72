//! The one integration binary: a module a topic.

mod outbox;
