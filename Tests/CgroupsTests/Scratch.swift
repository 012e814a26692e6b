import CLinux
import Foundation
import Linux
import Testing

@testable import Cgroups

/// A group of this machine's cgroup filesystem, under which a test makes what it likes.
///
/// It has the controllers that version 2 of the filesystem has here: all in a VM, few where version 1 holds most of them.
final class Scratch {
    let root: Cgroup
    let group: Cgroup
    private static let mountPoint: String? = {
        let mounts = (try? Files.readText("/proc/self/mounts")) ?? ""
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            if fields.count > 2, fields[2] == "cgroup2" { return String(fields[1]) }
        }
        let path = NSTemporaryDirectory() + "/tether-cgroup2-\(UUID().uuidString)"
        return (try? CgroupHierarchy.mount(on: path)) == nil ? nil : path
    }()

    /// What the tests below can count on.
    static let controllers: [String] = {
        guard let mountPoint, let text = try? Files.readText(mountPoint + "/cgroup.controllers") else { return [] }
        return text.split(separator: " ").map { String($0) }.filter { controller in
            (try? Files.write("+" + controller, to: mountPoint + "/cgroup.subtree_control")) != nil
        }
    }()

    init() throws {
        try #require(geteuid() == 0, "these tests make control groups: run them as root")
        _ = Scratch.controllers
        root = try Cgroup(root: #require(Scratch.mountPoint, "no cgroup2 filesystem"))
        group = try root.makeChild("tether-test-\(UUID().uuidString)")
    }

    deinit {
        try? group.kill()
        for _ in 0..<500 {
            if (try? group.remove()) != false { break }
            usleep(10_000)
        }
    }
}

/// A shell that waits for a word before it runs `command`, so that it can be put into a group first.
///
/// Made with posix_spawn(3): Foundation's Process needs a run loop, with sockets that a small VM need not have.
final class Shell {
    let pid: Int32
    private let output: FileDescriptor

    init(_ command: String, in group: Cgroup) throws {
        let input = try Linux.Pipe()
        let output = try Linux.Pipe()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input.read.rawValue, 0)
        posix_spawn_file_actions_adddup2(&actions, output.write.rawValue, 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        // Foundation's pipes are not closed by exec: whoever else has their ends keeps their readers waiting for an end.
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        let words: [String] = ["/bin/sh", "-c", "read word; " + command]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        let result = posix_spawn(&pid, "/bin/sh", &actions, nil, &arguments, Glibc.environ)
        try #require(result == 0)
        self.pid = pid
        let (read, write) = output.take()
        _ = FileDescriptor(owning: write)
        self.output = FileDescriptor(owning: read)
        do {
            try group.add(pid)
        } catch {
            Glibc.kill(pid, SIGKILL)
            throw error
        }
        let word = Array("go\n".utf8)
        let written = try word.withUnsafeBytes { bytes in try input.write.write(bytes) }
        try #require(written == word.count)
    }

    /// What it has written by its end, and how it ended: an exit code, or 128 and the signal.
    func end() -> (output: String, status: Int32) {
        var text: [UInt8] = []
        while let chunk = try? output.read(atMost: 4096), !chunk.isEmpty { text += chunk }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        let code = clinux_wifsignaled(status) != 0 ? 128 + clinux_wtermsig(status) : clinux_wexitstatus(status)
        return (String(decoding: text, as: UTF8.self), code)
    }
}

extension CgroupWatch {
    /// Waits for a change, at most 10 s.
    func awaitChange() -> Bool {
        var watched = pollfd(fd: descriptor, events: Int16(POLLPRI), revents: 0)
        return poll(&watched, 1, 10_000) == 1
    }
}
