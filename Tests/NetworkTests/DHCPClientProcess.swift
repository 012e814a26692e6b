import CLinux
import Foundation
import Linux
import Network
import Testing

/// A directory with the client's programs, where another user may go. The name decides what busybox does.
final class DHCPPrograms: Sendable {
    let directory = "/tmp/tether-network-\(UUID().uuidString)"

    init() throws {
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        for name in ["udhcpc", "tether-lease"] {
            try FileManager.default.copyItem(atPath: root + "/build/" + name, toPath: directory + "/" + name)
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }
}

/// The real client on veth0, as PID 1 starts it.
final class DHCPClientProcess {
    let pid: pid_t
    private let messages: FileDescriptor
    private let errors: FileDescriptor
    private var hasEnded = false

    /// - Parameter options: of udhcpc, beside what every client gets.
    init(_ programs: DHCPPrograms, _ options: [String]) throws {
        var ends: (Int32, Int32) = (-1, -1)
        try attempt("socketpair") {
            withUnsafeMutableBytes(of: &ends) {
                socketpair(AF_UNIX, clinux_packet_socket, 0, $0.baseAddress?.assumingMemoryBound(to: Int32.self))
            }
        }
        messages = FileDescriptor(owning: ends.0)
        let theirs = FileDescriptor(owning: ends.1)
        // As PID 1 has it: the client may not write to a file.
        let pipe = try Linux.Pipe().take()
        errors = FileDescriptor(owning: pipe.read)
        let written = FileDescriptor(owning: pipe.write)
        try errors.setNonBlocking()
        let words =
            [programs.directory + "/udhcpc", "-f", "-R", "-i", "veth0", "-s", programs.directory + "/tether-lease", "-A", "1", "-o"]
            + options
            + ["-x", "hostname:box"]
        let text: [UInt8] = words.reduce(into: []) { $0 += Array($1.utf8) + [0] }
        pid = try text.withUnsafeBytes { bytes in
            try attempt("start") {
                clinux_start_dhcp_client(
                    bytes.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(words.count), theirs.rawValue, written.rawValue,
                    2_147_480_002)
            }
        }
    }

    deinit {
        if hasEnded { return }
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    /// What it tells next.
    func next(seconds: Int32 = 60) throws -> LeaseEvent {
        var watched = pollfd(fd: messages.rawValue, events: Int16(POLLIN), revents: 0)
        try #require(poll(&watched, 1, seconds * 1000) == 1, "nothing from the client: \(said())")
        return try LeaseMessage.decode(try #require(try messages.read(atMost: LeaseMessage.limit + 1)))
    }

    /// What it has written to standard error since this was last asked.
    func said() -> String { String(decoding: (try? errors.read(atMost: 65_536)) ?? [], as: UTF8.self) }

    func signal(_ number: Int32) throws { try attempt("kill") { kill(pid, number) } }

    func waitForEnd() throws {
        var status: Int32 = 0
        try attempt("waitpid") { waitpid(pid, &status, 0) }
        hasEnded = true
    }
}
