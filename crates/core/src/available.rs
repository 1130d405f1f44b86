//! Memory that this process can still have.
//!
//! | limit | from |
//! |---|---|
//! | the machine | what it has and does not use |
//! | control groups, version 1 | `N:memory:/…` of `/proc/self/cgroup`; `memory.limit_in_bytes` of this group and of all above it |
//! | control groups, version 2 | `0::/…` of the same file; `memory.max` of this group and of all above it |
//! | `ulimit -d`, `ulimit -v` | `/proc/self/limits` |

use std::fs::read_to_string;
use std::path::{Component, Path};

/// What this process can still have, in bytes. `None` where there is no limit, or the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Available {
    /// For what cannot be dropped under pressure, as pages of files can.
    pub memory: Option<u64>,
    /// Address space, in which mapped files count, too.
    pub addresses: Option<u64>,
}

impl Available {
    pub fn now() -> Available {
        let machine = of_machine().map(|machine| machine.available);
        let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
        let groups = left_by_groups(&groups, Path::new("/sys/fs/cgroup"));
        let limits = read_to_string("/proc/self/limits").unwrap_or_default();
        let status = read_to_string("/proc/self/status").unwrap_or_default();
        let data = left_by_limit(&limits, "Max data size", &status, "RssAnon:");
        Available {
            memory: machine.into_iter().chain(groups).chain(data).min(),
            addresses: left_by_limit(&limits, ADDRESSES, &status, "VmRSS:"),
        }
    }
}

/// Address space that nothing is mapped in, in bytes, for what asks for more of it. `None` without a limit (`ulimit -v`).
pub fn unmapped() -> Option<u64> {
    let limits = read_to_string("/proc/self/limits").ok()?;
    left_by_limit(&limits, ADDRESSES, &read_to_string("/proc/self/status").ok()?, "VmSize:")
}

/// The line of `ulimit -v` in `/proc/self/limits`.
const ADDRESSES: &str = "Max address space";

/// Names of the files of a control group.
struct GroupFiles {
    limit: &'static str,
    used: &'static str,
    /// Fields of `memory.stat` that count pages of files, those of the groups below included.
    files: [&'static str; 2],
}

const UNIFIED: GroupFiles =
    GroupFiles { limit: "memory.max", used: "memory.current", files: ["inactive_file", "active_file"] };
const LEGACY: GroupFiles = GroupFiles {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    files: ["total_inactive_file", "total_active_file"],
};

/// The least that a group of this process or one above it leaves; `groups` is `/proc/self/cgroup`, and `mounts` has the
/// hierarchies. A group that is not below its mount, as in many containers, is left out: there the mount is the group.
fn left_by_groups(groups: &str, mounts: &Path) -> Option<u64> {
    let own = |controller: &str| {
        let mut lines = groups.lines().filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        });
        lines.next().unwrap_or_default()
    };
    let hierarchies = [
        (mounts.to_owned(), own(""), UNIFIED),
        // Beside hierarchies of version 1.
        (mounts.join("unified"), own(""), UNIFIED),
        (mounts.join("memory"), own("memory"), LEGACY),
    ];
    let left = hierarchies.iter().flat_map(|(root, own, files)| {
        let names = Path::new(own).components().filter(|part| matches!(part, Component::Normal(_)));
        let dir = root.join(names.collect::<std::path::PathBuf>());
        let dirs: Vec<_> =
            dir.ancestors().take_while(|dir| dir.starts_with(root)).map(Path::to_owned).collect();
        dirs.into_iter().filter_map(|dir| left_by_group(&dir, files))
    });
    left.min()
}

/// What a control group leaves; pages of files count as free, because they can be dropped. `None` without a limit.
fn left_by_group(dir: &Path, files: &GroupFiles) -> Option<u64> {
    let number = |name| read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    let limit = number(files.limit)?;
    let stat = read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let cached = stat.lines().filter_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        files.files.contains(&name).then(|| bytes.trim().parse::<u64>().ok())?
    });
    let used = number(files.used).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cached.sum())))
}

/// What a limit of `/proc/self/limits` leaves beside a field of `/proc/self/status`. What the allocator has reserved, but
/// nothing has touched, is still to be had: it is not in fields of resident memory.
fn left_by_limit(limits: &str, limit: &str, status: &str, used: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(limit))?;
    let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
    let field = status.lines().find_map(|line| line.strip_prefix(used));
    let kilobytes = field.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Some(limit.saturating_sub(kilobytes.unwrap_or(0) << 10))
}

/// What the machine has, whatever limits leave of it, in bytes.
pub struct Machine {
    pub total: u64,
    pub available: u64,
}

/// `None` where the system does not tell.
pub fn of_machine() -> Option<Machine> {
    let mut system = sysinfo::System::new();
    system.refresh_memory_specifics(sysinfo::MemoryRefreshKind::nothing().with_ram());
    let machine = Machine { total: system.total_memory(), available: system.available_memory() };
    (machine.available > 0).then_some(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hierarchies with these files: a group, its limit, what it uses, and how many of that are pages of files.
    fn groups(files: &GroupFiles, groups: &[(&str, &str, u64, u64)]) -> tempfile::TempDir {
        let mounts = tempfile::tempdir().unwrap();
        for (group, limit, used, cached) in groups {
            let dir = mounts.path().join(group);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(files.limit), format!("{limit}\n")).unwrap();
            std::fs::write(dir.join(files.used), format!("{used}\n")).unwrap();
            let stat = format!("anon 500\n{} {cached}\n", files.files[0]);
            std::fs::write(dir.join("memory.stat"), stat).unwrap();
        }
        mounts
    }

    #[test]
    fn the_tightest_of_the_own_group_and_those_above_it_counts() {
        const NONE: &str = "9223372036854771712";
        let legacy = |own: &str, of: &[(&str, &str, u64, u64)]| {
            left_by_groups(&format!("11:cpu,cpuacct:/x\n4:memory:{own}\n"), groups(&LEGACY, of).path())
        };
        let tree = [("memory", NONE, 0, 0), ("memory/a", "1000", 900, 300), ("memory/a/b", "800", 100, 0)];
        assert_eq!(legacy("/a/b", &tree), Some(400), "that of the group above");
        assert_eq!(legacy("/a", &tree), Some(400));
        assert_eq!(legacy("/a/b", &[("memory/a", "1000", 0, 0), ("memory/a/b", "70", 0, 0)]), Some(70));
        assert_eq!(legacy("/not/seen/here", &[("memory", "50", 0, 0)]), Some(50), "a container");
        assert_eq!(legacy("/../a", &[("memory/a", "50", 0, 0)]), Some(50), "outside of its name space");
        assert_eq!(legacy("/b", &[("memory/a", "50", 0, 0)]), None, "the group of others");

        let unified = |of: &[(&str, &str, u64, u64)]| {
            left_by_groups("1:name=systemd:/y\n0::/a/b\n", groups(&UNIFIED, of).path())
        };
        assert_eq!(unified(&[("a", "1000", 900, 300), ("a/b", "max", 0, 0)]), Some(400));
        assert_eq!(unified(&[("a", "max", 0, 0), ("a/b", "70", 90, 0)]), Some(0));
        assert_eq!(unified(&[("unified/a", "10", 4, 0)]), Some(6), "beside version 1");
        assert_eq!(unified(&[("a", "max", 0, 0)]), None);
        assert_eq!(left_by_groups("", Path::new("/nowhere")), None);
    }

    #[test]
    fn limits_of_the_process_are_read_as_the_system_writes_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max data size             unlimited            unlimited            bytes     \n\
                      Max address space         4096000              unlimited            bytes     \n";
        let status = "VmSize:\t  999999 kB\nVmRSS:\t    1000 kB\n";
        assert_eq!(left_by_limit(limits, "Max address space", status, "VmRSS:"), Some(3_072_000));
        let mapped = "VmPeak:\t 9 kB\nVmSize:\t   1000 kB\n";
        assert_eq!(left_by_limit(limits, ADDRESSES, mapped, "VmSize:"), Some(4_096_000 - 1_024_000));
        assert_eq!(left_by_limit(limits, "Max data size", status, "VmRSS:"), None);
        let machine = of_machine().expect("known here");
        assert!(machine.available > 1 << 20 && machine.available <= machine.total);
        assert!(Available::now().memory.is_some_and(|bytes| bytes <= machine.total));
    }
}
