import Foundation

/// Image disks that several tests use.
enum Images {
    /// The sample root with files that cannot be executed, each in its own way, a user, a link that leads to /run, and
    /// a directory in /tmp for everyone.
    static func odd() throws -> String {
        lock.lock()
        defer { lock.unlock() }
        if let made { return made.file("odd.vmdk") }
        let scratch = try Scratch()
        let root = scratch.file("root")
        guard try run(["cp", "-a", try Build.path("busybox-root"), root]).status == 0 else { throw CocoaError(.fileWriteUnknown) }
        try scratch.write("root/etc/plain", Data("#!/bin/sh\n".utf8))
        try scratch.write("root/etc/no-interpreter", Data("#!/nowhere/sh\n".utf8), mode: 0o755)
        try scratch.write("root/etc/text", Data("echo hello\n".utf8), mode: 0o755)
        let users = try String(contentsOfFile: root + "/etc/passwd", encoding: .utf8) + "newuser:x:1500:1600::/home/new:/bin/sh\n"
        try scratch.write("root/etc/passwd", Data(users.utf8))
        let groups = try String(contentsOfFile: root + "/etc/group", encoding: .utf8) + "newgroup:x:1600:\nextra:x:1601:newuser\n"
        try scratch.write("root/etc/group", Data(groups.utf8))
        try scratch.write("root/etc/garbage", Data([0x7F, 0x45, 0x4C, 0x46, 0, 1, 2, 3]), mode: 0o755)
        try FileManager.default.createDirectory(
            atPath: root + "/tmp/ended", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o777])
        try FileManager.default.createSymbolicLink(atPath: root + "/out", withDestinationPath: "/run")
        guard
            try run([try Build.path("tetherctl"), "image", "--from", root, "--label", "containerfs", "--output", scratch.file("odd.vmdk")])
                .status == 0
        else { throw CocoaError(.fileWriteUnknown) }
        made = scratch
        return scratch.file("odd.vmdk")
    }

    /// The sample root with bash and the libraries it needs.
    static func bash() throws -> String {
        lock.lock()
        defer { lock.unlock() }
        if let madeBash { return madeBash.file("bash.vmdk") }
        let scratch = try Scratch()
        let root = scratch.file("root")
        guard try run(["cp", "-a", try Build.path("busybox-root"), root]).status == 0 else { throw CocoaError(.fileWriteUnknown) }
        for file in try libraries(of: "/bin/bash") + ["/bin/bash"] {
            guard try run(["install", "-D", file, root + file]).status == 0 else { throw CocoaError(.fileWriteUnknown) }
        }
        let command = [
            try Build.path("tetherctl"), "image", "--from", root, "--label", "containerfs", "--output", scratch.file("bash.vmdk"),
        ]
        guard try run(command).status == 0 else { throw CocoaError(.fileWriteUnknown) }
        madeBash = scratch
        return scratch.file("bash.vmdk")
    }

    /// The files that a program of this machine is dynamically linked with.
    static func libraries(of program: String) throws -> [String] {
        try run(["ldd", program]).text.split(separator: "\n").compactMap { line in
            line.split { $0 == " " || $0 == "\t" }.map(String.init).first { $0.hasPrefix("/") }
        }
    }

    private static let lock = NSLock()
    nonisolated(unsafe) private static var madeBash: Scratch?  // guarded by `lock`
    nonisolated(unsafe) private static var made: Scratch?  // guarded by `lock`
}
