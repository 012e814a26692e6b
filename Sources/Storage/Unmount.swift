import CLinux
import Linux

/// A mount point that was not unmounted cleanly.
public struct UnmountFailure: Equatable, Sendable, CustomStringConvertible {
    public let point: String
    /// Why, what was done instead, and who was using it.
    public let cause: String

    public var description: String { "unmount \(point): \(cause)" }
}

extension Storage {
    /// Unmounts everything at and below `point`, the innermost first, and writes all to the disks.
    ///
    /// What is busy is made read-only and detached, and reported. A disk that another mount namespace still has mounted is
    /// waited for and then reported: its filesystem is not clean before the last process of that namespace is gone.
    /// - Parameters:
    ///   - point: an absolute path without symbolic links.
    ///   - milliseconds: the bound of the whole; what is under way then is reported and left.
    public static func unmountAll(below point: String, milliseconds: Int64) -> [UnmountFailure] {
        let deadline = Deadline.after(milliseconds: milliseconds)
        let worker: Worker
        do throws(SyscallError) {
            worker = try Worker.start("unmount " + point) { output in
                Unmounter(deadline: deadline).run(below: Array(point.utf8), output)
            }
        } catch {
            return [UnmountFailure(point: point, cause: error.description)]
        }
        let result = worker.wait(until: deadline)
        var failures: [UnmountFailure] = []
        var underway = point
        for message in result.messages {
            var decoder = FieldDecoder(message)
            guard let name = decoder.text(), let cause = decoder.optionalText() else { continue }
            if let cause { failures.append(UnmountFailure(point: name, cause: cause)) } else { underway = name }
        }
        switch result.ending {
        case .finished: break
        case .died(let signal): failures.append(UnmountFailure(point: underway, cause: "the worker died (signal \(signal))"))
        case .timedOut, .interrupted: failures.append(UnmountFailure(point: underway, cause: "not done within \(milliseconds) ms"))
        }
        return failures
    }
}

/// The work itself, inside the worker. A message is a mount point, and a cause where it failed; without one it is what is
/// begun, so that the parent can name what hangs.
private struct Unmounter {
    let deadline: Deadline

    /// The most users of a filesystem that an error names.
    private static let listedUsers = 5
    /// What is kept of the time for the way back to the parent.
    private static let reserveNanoseconds: Int64 = 200_000_000

    func run(below point: [UInt8], _ output: borrowing WorkerOutput) {
        let order: [MountInfo]
        do throws(SyscallError) { order = MountInfo.unmountOrder(try table(), below: point) } catch {
            tell(String(decoding: point, as: UTF8.self), error.description, output)
            return
        }
        var devices: [String] = []
        for mount in order where mount.source.utf8.starts(with: "/dev/".utf8) && !devices.contains(mount.source) {
            devices.append(mount.source)
        }
        // Twice: what is busy only because of a mount that could not go at first may go then.
        let busy = unmount(unmount(order, output).map { $0.mount }, output)
        for failed in busy { detach(failed.mount, failed.errno, output) }
        // Filesystems that are detached, or mounted elsewhere too, keep data in memory until it is written.
        tell("sync", nil, output)
        sync()
        let mounted = (try? table()) ?? []
        let detached = busy.map { $0.mount.source }
        for device in devices where !detached.contains(device) && !mounted.contains(where: { $0.source == device }) {
            awaitRelease(of: device, output)
        }
    }

    private func tell(_ name: String, _ cause: String?, _ output: borrowing WorkerOutput) {
        var encoder = FieldEncoder()
        encoder.append(name)
        encoder.append(cause)
        output.send(encoder.bytes)
    }

    private func table() throws(SyscallError) -> [MountInfo] { MountInfo.parse(try Files.read("/proc/self/mountinfo", limit: 4 << 20)) }

    /// - Returns: what could not be unmounted.
    private func unmount(_ mounts: [MountInfo], _ output: borrowing WorkerOutput) -> [(mount: MountInfo, errno: Errno)] {
        var failed: [(mount: MountInfo, errno: Errno)] = []
        for mount in mounts {
            tell(mount.pointText, nil, output)
            do throws(SyscallError) {
                try unmount(mount, flags: 0)
            } catch {
                failed.append((mount: mount, errno: error.errno))
            }
        }
        return failed
    }

    private func unmount(_ mount: MountInfo, flags: Int) throws(SyscallError) {
        try attempt("umount2", mount.pointText) { mount.withPoint { umount2($0, Int32(flags | UMOUNT_NOFOLLOW)) } }
    }

    /// The last resort for a mount point that is in use: at least nothing more is written through it, and it is out of the way.
    private func detach(_ mount: MountInfo, _ errno: Errno, _ output: borrowing WorkerOutput) {
        var cause = errno.description
        var status = stat()
        if stat(mount.pointText, &status) == 0 { cause += usersText(of: status.st_dev) }
        do throws(SyscallError) {
            try attempt("mount", mount.pointText) {
                mount.withPoint { CLinux.mount(nil, $0, nil, UInt(MS_REMOUNT | MS_RDONLY), nil) }
            }
            cause += "; made read-only"
        } catch {
            cause += "; not made read-only: \(error.errno)"
        }
        do throws(SyscallError) {
            try unmount(mount, flags: MNT_DETACH)
            cause += " and detached"
        } catch {
            cause += ", not detached: \(error.errno)"
        }
        tell(mount.pointText, cause, output)
    }

    /// Waits until no filesystem holds the device: an unmount takes one mount away, the filesystem lives on while another mount
    /// namespace has it too. The kernel has no event for its end, so this looks every 10 ms.
    private func awaitRelease(of device: String, _ output: borrowing WorkerOutput) {
        tell(device, nil, output)
        while true {
            do throws(SyscallError) {
                // A mounted filesystem has claimed its device for itself, as this open does (O_EXCL without O_CREAT, open(2)).
                _ = try FileDescriptor.open(device, O_RDONLY | O_EXCL | O_NONBLOCK)
                return
            } catch {
                // A device that is gone, or no device: nothing that we could wait for.
                if error.errno.rawValue != EBUSY { return }
            }
            if Clock.monotonic() >= deadline.nanoseconds - Unmounter.reserveNanoseconds { break }
            usleep(10_000)
        }
        var status = stat()
        let users = stat(device, &status) == 0 ? usersText(of: status.st_rdev) : ""
        tell(device, "its filesystem is still in use, by another mount namespace or by the kernel" + users, output)
    }

    /// "; used by 12 (sleep), 13 (sh)": processes with their root, working directory, program or an open file on `device`.
    private func usersText(of device: dev_t) -> String {
        var users: [String] = []
        for name in (try? Files.list("/proc")) ?? [] where name.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) {
            let folder = "/proc/" + name
            var links = ["root", "cwd", "exe"]
            for descriptor in (try? Files.list(folder + "/fd")) ?? [] { links.append("fd/" + descriptor) }
            let uses = links.contains { link in
                var status = stat()
                return stat(folder + "/" + link, &status) == 0 && status.st_dev == device
            }
            if !uses { continue }
            users.append(name + " (" + ((try? Files.readText(folder + "/comm", limit: 64)) ?? "?") + ")")
            if users.count == Unmounter.listedUsers { break }
        }
        return users.isEmpty ? "" : "; used by " + users.joined(separator: ", ")
    }
}

extension MountInfo {
    /// Calls `body` with the mount point as C wants it, byte for byte as the kernel has it.
    fileprivate func withPoint(_ body: (UnsafePointer<CChar>?) -> Int32) -> Int32 {
        (point + [0]).withUnsafeBytes { body($0.baseAddress?.assumingMemoryBound(to: CChar.self)) }
    }
}
