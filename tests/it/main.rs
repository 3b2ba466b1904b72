//! One integration binary: a module a topic.

mod layers;
//! The one integration binary: a module a topic.

mod task_json;
