//! How much memory a device has left, as far as it tells.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Memory that a program may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that nothing else uses at the moment.
    pub free: u64,
    /// Bytes in all.
    pub all: u64,
}

impl Room {
    /// That of this machine, or of the group of processes that this one is in if it has less; none
    /// where the system does not tell.
    pub fn of_machine() -> Option<Room> {
        let wanted = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(wanted).ok()?;
        let machine = Room { free: system.available_memory(), all: system.total_memory() };
        let group = system.cgroup_limits().map(|group| Room {
            free: group.free_memory.min(machine.free),
            all: group.total_memory.min(machine.all),
        });
        Some(group.unwrap_or(machine)).filter(|room| room.free > 0)
    }
}
