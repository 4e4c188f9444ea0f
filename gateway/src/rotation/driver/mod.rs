//! The only writer of the catalogue, the audit log and the snapshot: carries out the actions of the engine, and reports outcomes.
//!
//! Everything runs on one thread, which waits for nothing but lines of the audit log and [`marks`]: what is asked of the records'
//! writer, a custodian or JetStream comes later, and other keyrings go on meanwhile. (A process that drains writes nothing, and
//! reads the records in place, see [`follow`].) Each keyring is an [`Actor`](keyring): it owns its engine, does what that decides
//! one step after the other, and writes its own record only. [`Driver::tick`] and the functions beside it need no runtime, so that a
//! simulation drives them with its own clock, disk and custodian, and decides what comes when.
//!
//! A file uses files of lower ranks only.
//!
//! | rank | file | what it holds |
//! |---|---|---|
//! | 0 | `answer` | the answer that somebody waits for |
//! | 0 | `journal` | the audit log, with what could not be written yet |
//! | 0 | `loaded` | versions in memory |
//! | 1 | `drainers` | processes that drain, as the writer serves them |
//! | 1 | `inspection` | what JetStream says is stored under a version |
//! | 1 | `misses` | kids that are not in the snapshot |
//! | 1 | `reservation` | how much of a budget is reserved at a time |
//! | 1 | `tasks` | work that waits |
//! | 1 | `waiting` | what waits until nothing is under way |
//! | 2 | `shared` | what all keyrings share |
//! | 3 | `context` | the same, as work that waits holds it |
//! | 3 | `protect` | configurations that weaken protection |
//! | 3 | `refusals` | audit lines of orders for which nothing is begun |
//! | 4 | `clocks` | changes of the wall clock, and dates of the configuration |
//! | 5 | `keyring` | a keyring, its engine, and what is under way for it |
//! | 6 | `destroy` | destruction, and what JetStream is asked before |
//! | 6 | `marks` | orders that could not be written to the record |
//! | 6 | `measure` | metrics |
//! | 6 | `orders` | orders of operators to a keyring |
//! | 6 | `perform` | what each step of the engine does |
//! | 6 | `report` | status for operators |
//! | 6 | `reserve` | reservations of budgets |
//! | 6 | `standstill` | why publishes wait |
//! | 7 | `tick` | the driver, and its periodic work |
//! | 8 | `lend` | requests of processes that drain |
//! | 8 | `reload` | a reload, once nothing is under way |
//! | 8 | `request` | what goes to the driver's loop |
//! | 8 | `start` | the start, and the terms in force |
//! | 9 | `follow` | following another process that took over as writer |
//! | 9 | `serve` | what operators ask |
//! | 10 | `run` | the event loop |

mod answer;
mod clocks;
mod context;
mod destroy;
mod drainers;
mod follow;
#[cfg(test)]
mod handed_over;
mod inspection;
mod journal;
mod keyring;
mod lend;
mod loaded;
mod marks;
mod measure;
mod misses;
mod orders;
mod perform;
mod protect;
mod refusals;
mod reload;
mod report;
mod request;
mod reservation;
mod reserve;
mod run;
mod serve;
mod shared;
#[cfg(test)]
mod simulation;
mod standstill;
mod start;
mod tasks;
#[cfg(test)]
mod testing;
mod tick;
mod waiting;

pub(super) use answer::reply;
pub(super) use refusals::AuditedOrder;
pub(super) use request::Request;
pub(super) use start::Parts;
pub(super) use tick::Driver;
pub(super) use waiting::{DrainChannel, HandOver, Waiting};
