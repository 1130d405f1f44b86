//! What the tests share, by job.
#![allow(dead_code, reason = "every program of tests uses its own part of this")]

pub mod binary;
pub mod events;
pub mod gguf;
pub mod hub;
pub mod models;
pub mod onnx;
pub mod passes;
pub mod quickstart;
pub mod rows;
pub mod runtime;
pub mod shared;
pub mod tiny_model;
pub mod training;
pub mod trajectory;
