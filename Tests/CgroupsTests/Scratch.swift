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
final class Shell {
    private let process = Process()
    private let input = Foundation.Pipe()
    private let output = Foundation.Pipe()

    init(_ command: String, in group: Cgroup) throws {
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", "read word; " + command]
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        try group.add(process.processIdentifier)
        input.fileHandleForWriting.write(Data("go\n".utf8))
    }

    var pid: Int32 { process.processIdentifier }

    /// What it has written by its end, and how it ended: an exit code, or 128 and the signal.
    func end() -> (output: String, status: Int32) {
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (text, process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus)
    }
}

extension CgroupWatch {
    /// Waits for a change, at most 10 s.
    func awaitChange() -> Bool {
        var watched = pollfd(fd: descriptor, events: Int16(POLLPRI), revents: 0)
        return poll(&watched, 1, 10_000) == 1
    }
}
