//! The services, for clients in other processes: prints the variables that lead a client to them, and serves until standard input
//! ends. Jobs run their commands. With a folder as its argument, it keeps there what the control plane hears and says.

use olive_azureml_fake::FakeAzure;
use olive_azureml_fake::command_runner::CommandRunner;
use olive_azureml_fake::identity::MachineIdentity;
use olive_azureml_fake::place::REGISTRY;
use olive_azureml_fake::traffic::Traffic;
use olive_azureml_fake::world::FakeOptions;
use std::io::Read;
use std::sync::Arc;

#[allow(clippy::print_stdout)]
fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let options = FakeOptions {
        runner: Arc::new(CommandRunner::default()),
        machine: MachineIdentity::Present,
        // The specification has no less.
        retry_after: 10,
        traffic: std::env::args_os().nth(1).map(|folder| Arc::new(Traffic::into(folder.into()))),
        ..FakeOptions::default()
    };
    let fake = runtime.block_on(FakeAzure::start(options))?;
    fake.world().vault.set("hf-token", "hf_fake");
    fake.world().blobs.put(REGISTRY.1, "shared/1/config.json", "{}");
    for (name, value) in fake.variables() {
        println!("{name}={value}");
    }
    println!();
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
