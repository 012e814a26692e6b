import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// All tests that make containers on this machine, one after another: they need to be root, and count descriptors and processes.
@Suite(.serialized) enum ContainerSystemTests {}

/// A mounted root with busybox, which a root must be to be moved over `/`.
final class Root {
    let path = NSTemporaryDirectory() + "/tether-root-\(UUID().uuidString)"

    /// - Parameter commands: names that busybox is linked to.
    init(
        _ commands: [String] = [
            "sh", "cat", "ls", "id", "grep", "kill", "sleep", "hostname", "stat", "tty", "stty", "readlink", "uname", "echo",
        ]
    ) throws {
        try #require(geteuid() == 0, "these tests make namespaces and mounts: run them as root")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try #require(mount("tmpfs", path, "tmpfs", 0, "size=32m,mode=755") == 0)
        for directory in ["/bin", "/etc"] {
            try FileManager.default.createDirectory(atPath: path + directory, withIntermediateDirectories: true)
        }
        try FileManager.default.copyItem(atPath: "/bin/busybox", toPath: path + "/bin/busybox")
        for name in commands { try FileManager.default.createSymbolicLink(atPath: path + "/bin/" + name, withDestinationPath: "busybox") }
        try Data("echo\n".utf8).write(to: URL(fileURLWithPath: path + "/bin/plain"))
    }

    func write(_ text: String, to file: String, mode: Int = 0o644) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path + file))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path + file)
    }

    deinit {
        umount2(path, Int32(MNT_DETACH))
        rmdir(path)
    }
}

/// Does for a launch what PID 1's event loop does.
func complete(_ launch: ContainerLaunch) throws(LaunchError) -> RunningContainer {
    while true {
        switch launch.step() {
        case .started(let container): return container
        case .failed(let error): throw error
        case .waiting: waitReadable(launch.descriptor, launch.deadline)
        }
    }
}

func complete(_ launch: ProcessLaunch) throws(LaunchError) -> SessionProcess {
    while true {
        switch launch.step() {
        case .started(let process): return process
        case .failed(let error): throw error
        case .waiting: waitReadable(launch.descriptor, launch.deadline)
        }
    }
}

func waitReadable(_ descriptor: Int32, _ deadline: Deadline) {
    var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    _ = poll(&watched, 1, deadline.pollTimeout)
}

/// Reads until the end of the stream, or until the text so far satisfies `condition`.
func read(_ descriptor: Int32, milliseconds: Int64 = 20_000, until condition: (String) -> Bool = { _ in false }) -> String {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    let deadline = Deadline.after(milliseconds: milliseconds)
    while !deadline.hasPassed {
        let count = Glibc.read(descriptor, &chunk, chunk.count)
        if count == 0 || count < 0 && errno != EAGAIN && errno != EINTR { break }
        if count > 0 { bytes += chunk[..<count] } else { waitReadable(descriptor, deadline) }
        if condition(String(decoding: bytes, as: UTF8.self)) { break }
    }
    return String(decoding: bytes, as: UTF8.self)
}

/// A process's output and end.
struct Outcome {
    var stdout: String
    var stderr: String
    var end: ProcessEnd
}

func finish(_ process: SessionProcess) -> Outcome {
    let outputs = [process.stdout, process.stderr].map { $0 < 0 ? "" : read($0) }
    var status: Int32 = 0
    waitpid(process.processID, &status, 0)
    return Outcome(stdout: outputs[0], stderr: outputs[1], end: ProcessEnd(waitStatus: status))
}

func start(_ spec: ContainerSpec, in root: Root, _ placement: Placement = Placement()) throws(LaunchError) -> RunningContainer {
    try complete(try ContainerLaunch.start(spec, root: root.path, placement: placement))
}

/// Kills what is left, and waits for it.
func end(_ container: RunningContainer) {
    container.process.signal(.kill)
    waitpid(container.process.processID, nil, 0)
    container.killNamespaces()
    if let holder = container.holderID { waitpid(holder, nil, 0) }
}

/// Starts a container, waits for its end, and gives what it wrote.
func run(_ spec: ContainerSpec, in root: Root, _ placement: Placement = Placement()) throws(LaunchError) -> Outcome {
    let container = try start(spec, in: root, placement)
    let outcome = finish(container.process)
    container.killNamespaces()
    if let holder = container.holderID { waitpid(holder, nil, 0) }
    return outcome
}

func shell(_ command: String) -> ContainerSpec {
    var spec = ContainerSpec(args: ["sh", "-c", command])
    spec.process.env = ["PATH=/bin", "HOME=/"]
    spec.hostname = "box"
    return spec
}

func shellProcess(_ command: String) -> ContainerProcess { shell(command).process }

/// The entries of a directory of /proc.
func entries(_ path: String) -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] }

/// The children of this process.
func children() -> [String] {
    entries("/proc/self/task").flatMap { task in
        ((try? String(contentsOfFile: "/proc/self/task/\(task)/children", encoding: .utf8)) ?? "").split(separator: " ").map(String.init)
    }
}

/// Expects that `rounds` calls of `body` leave no descriptor and no child each.
func expectNothingIsLeft(rounds: Int, sourceLocation: SourceLocation = #_sourceLocation, _ body: (Int) throws -> Void) rethrows {
    try expectNoMore(than: rounds / 2, sourceLocation: sourceLocation) { for round in 0..<rounds { try body(round) } }
}

/// Expects that `body` leaves fewer than so many descriptors, and children. Other tests of this process open and close theirs
/// meanwhile, some of them a thousand, for some time: what is left for good is there at each look.
func expectNoMore(than limit: Int, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void) rethrows {
    func count() -> (descriptors: Int, children: Int) { (entries("/proc/self/fd").count, children().count) }
    let before = count()
    try body()
    var left = (descriptors: Int.max, children: Int.max)
    let deadline = Deadline.after(milliseconds: 120_000)
    while true {
        let now = count()
        left = (min(left.descriptors, now.descriptors - before.descriptors), min(left.children, now.children - before.children))
        if left.descriptors < limit && left.children < limit || deadline.hasPassed { break }
        usleep(200_000)
    }
    #expect(left.descriptors < limit && left.children < limit, "\(left)", sourceLocation: sourceLocation)
}
