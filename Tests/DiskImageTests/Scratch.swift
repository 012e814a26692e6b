import Foundation
import Testing

/// A directory of a test's own, removed with it.
final class Scratch {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "tether-image-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Makes a tree with what is easily lost: owners, special modes, links of both kinds, awkward names.
    /// - Returns: its path.
    func makeTree(plainNames: Bool = true) throws -> String {
        let tree = path + "/tree"
        for name in ["bin", "etc", "tmp", "var"] {
            try FileManager.default.createDirectory(atPath: "\(tree)/\(name)", withIntermediateDirectories: true)
        }
        try Data("hello\n".utf8).write(to: URL(fileURLWithPath: tree + "/etc/motd"))
        try Data("#!/bin/sh\n".utf8).write(to: URL(fileURLWithPath: tree + "/bin/setuid"))
        try Data().write(to: URL(fileURLWithPath: tree + "/var/" + "empty"))
        try Data("a".utf8).write(to: URL(fileURLWithPath: tree + "/etc/" + (plainNames ? "grüße" : "two words")))
        try FileManager.default.createSymbolicLink(atPath: tree + "/link", withDestinationPath: "etc/motd")
        try #require(link(tree + "/etc/motd", tree + "/etc/same") == 0)
        if getuid() == 0 { try #require(chown(tree + "/bin/setuid", 1234, 5678) == 0) }
        // After chown(2), which takes the setuid bit away.
        try #require(chmod(tree + "/bin/setuid", 0o4755) == 0)
        try #require(chmod(tree + "/tmp", 0o1777) == 0)
        try #require(chmod(tree, 0o750) == 0)
        return tree
    }
}

/// Runs a program and returns its standard output, which must be text.
/// - Throws: when it exits with another status than 0.
func run(_ command: [String]) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    process.environment = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"]
    process.standardInput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "\(command.joined(separator: " ")) exits with \(process.terminationStatus)")
    return try #require(String(bytes: output, encoding: .utf8))
}
