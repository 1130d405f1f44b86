//! The services as clients see them: that of `olive-azureml`, and `object_store`'s of blobs.

mod blobs;
#[allow(dead_code, reason = "others look at the recorded requests")]
#[path = "../../../azureml/tests/contract/mod.rs"]
mod contract;
mod control_plane;
mod job_run;
mod support;
