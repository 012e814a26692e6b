import CLinux
import Linux

/// The kernel's file systems that PID 1 itself needs. The kernel hands over an initramfs with nothing mounted.
enum EarlyMounts {
    /// Mounts /proc, /sys, /dev and /run. What is mounted already (after a crash) stays.
    static func mountAll() throws(SyscallError) {
        // /proc first: opening descriptors by path and the module loader need it; /dev before any device is opened.
        try mount("proc", on: "/proc", type: "proc", flags: UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC))
        try mount("sysfs", on: "/sys", type: "sysfs", flags: UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC))
        try mount("devtmpfs", on: "/dev", type: "devtmpfs", flags: UInt(MS_NOSUID | MS_NOEXEC))
        try mount("tmpfs", on: "/run", type: "tmpfs", flags: UInt(MS_NOSUID | MS_NODEV), data: "mode=755")
    }

    private static func mount(_ source: String, on target: String, type: String, flags: UInt, data: String? = nil) throws(SyscallError) {
        try Files.makeDirectories(target)
        do throws(SyscallError) {
            try attempt("mount \(type)", target) { CLinux.mount(source, target, type, flags, data) }
        } catch {
            if error.errno.rawValue != EBUSY { throw error }
        }
    }
}
