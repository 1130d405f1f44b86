/// Processor time of this process so far, from all threads; less disturbed by other programs than the wall clock.
pub fn cpu_seconds() -> f64 {
    let Ok(process) = sysinfo::get_current_pid() else { return 0.0 };
    let mut system = sysinfo::System::new();
    let wanted = sysinfo::ProcessesToUpdate::Some(&[process]);
    system.refresh_processes_specifics(wanted, false, sysinfo::ProcessRefreshKind::nothing().with_cpu());
    system.process(process).map_or(0.0, |process| process.accumulated_cpu_time() as f64 / 1e3)
}
