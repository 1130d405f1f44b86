//! The services as clients see them: that of `olive-azureml`, and `object_store`'s of blobs.

mod blobs;
mod control_plane;
mod job_run;
mod support;
