import CLinux
import CSpawn
import ContainerSpec
import Linux

/// A user namespace that exists only for its mappings, which an id-mapped mount takes (mount_setattr(2)).
final class UserNamespace {
    private let namespace: FileDescriptor
    var descriptor: Int32 { namespace.rawValue }

    /// - Parameter object: what the mappings are for, in errors.
    init(_ uids: [IDMapping], _ gids: [IDMapping], for object: String) throws(LaunchError) {
        var pidfd: Int32 = -1
        var pid: Int32 = -1
        do throws(SyscallError) {
            pid = try attempt("make user namespace", "for \(object)") { cspawn_user_namespace(&pidfd) }
        } catch { throw LaunchError(error) }
        // The namespace lives on with its descriptor. The child's end is not waited for: who reaps all children reaps it, too.
        let child = ProcessDescriptor(owning: pidfd, pid: pid)
        defer { try? child.send(SIGKILL) }
        try UserNamespace.write(uids, gids, pid: pid, for: object)
        do throws(SyscallError) { namespace = try FileDescriptor.open("/proc/\(pid)/ns/user", O_RDONLY) } catch {
            throw LaunchError(error)
        }
    }

    /// Gives the user namespace of process `pid` its mappings. The kernel takes either file once only.
    static func write(_ uids: [IDMapping], _ gids: [IDMapping], pid: Int32, for object: String) throws(LaunchError) {
        for (file, mappings) in [("uid_map", uids), ("gid_map", gids)] {
            let text = mappings.reduce("") { $0 + "\($1.containerID) \($1.hostID) \($1.size)\n" }
            do throws(SyscallError) { try Files.write(text, to: "/proc/\(pid)/\(file)") } catch {
                throw LaunchError("set \(file)", "of the user namespace for \(object)", error.errno.description)
            }
        }
    }
}
