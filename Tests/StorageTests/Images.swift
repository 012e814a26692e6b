import CLinux
import Foundation
import Linux

/// What a test could not prepare: a program that is missing or failed, or a right that the tests need.
struct PreparationError: Error, CustomStringConvertible {
    let description: String
}

/// A scratch folder, removed with all in it when the test ends.
final class Scratch {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "tether-storage-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// An empty file of `megabytes`, sparse.
    func file(_ name: String, megabytes: Int) throws -> String {
        let file = path + "/" + name
        let descriptor = try Linux.FileDescriptor.open(file, O_RDWR | O_CREAT, mode: 0o644)
        try attempt("ftruncate", file) { ftruncate(descriptor.rawValue, megabytes << 20) }
        return file
    }

    /// A file with a filesystem, made by `mkfs.<type>` or its like.
    func image(_ type: String, label: String, megabytes: Int = 16) throws -> String {
        switch type {
        case "ext4":
            let file = try file(label + ".img", megabytes: megabytes)
            try run("mkfs.ext4", "-q", "-F", "-L", label, file)
            return file
        case "xfs":
            let file = try file(label + ".img", megabytes: 320)
            try run("mkfs.xfs", "-q", "-f", "-L", label, file)
            return file
        case "btrfs":
            let file = try file(label + ".img", megabytes: 128)
            try run("mkfs.btrfs", "-q", "-f", "-L", label, file)
            return file
        case "squashfs", "erofs":
            let tree = path + "/" + label + ".d"
            try FileManager.default.createDirectory(atPath: tree, withIntermediateDirectories: true)
            try Data("hello\n".utf8).write(to: URL(fileURLWithPath: tree + "/hello"))
            let file = path + "/" + label + ".img"
            if type == "squashfs" { try run("mksquashfs", tree, file, "-quiet", "-no-progress") } else { try run("mkfs.erofs", file, tree) }
            return file
        default: throw PreparationError(description: "no recipe for \(type)")
        }
    }

    func overwrite(_ file: String, at offset: Int, with bytes: [UInt8]) throws {
        let descriptor = try Linux.FileDescriptor.open(file, O_WRONLY)
        try attempt("pwrite", file) { bytes.withUnsafeBytes { pwrite(descriptor.rawValue, $0.baseAddress, $0.count, offset) } }
    }
}

/// A loop device that shows a file as a disk, detached when the test ends.
final class LoopDevice {
    let path: String

    init(_ file: String, partitions: Bool = false, readOnly: Bool = false) throws {
        guard getuid() == 0 else { throw PreparationError(description: "this test mounts disks: run it as root") }
        var arguments = ["--find", "--show", file]
        if partitions { arguments.append("--partscan") }
        if readOnly { arguments.append("--read-only") }
        path = try run("losetup", arguments)
    }

    deinit { _ = try? run("losetup", "--detach", path) }

    var name: String { String(path.dropFirst("/dev/".count)) }
}

/// Gives a file or a disk a GPT with `entries`, each in the words of sfdisk(8).
func partition(_ path: String, _ entries: String...) throws {
    let script = (["label: gpt"] + entries).joined(separator: "\n")
    try run("sh", "-c", "printf '%s\\n' \"$1\" | sfdisk --quiet --no-reread --no-tell-kernel \"$2\"", "sh", script, path)
}

@discardableResult func run(_ program: String, _ arguments: String...) throws -> String { try run(program, arguments) }

/// Runs a program to its end.
/// - Returns: what it wrote, without the last newline.
@discardableResult func run(_ program: String, _ arguments: [String]) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"]
    let output = Foundation.Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
        throw PreparationError(description: "\(program) \(arguments.joined(separator: " ")) failed: \(text)")
    }
    return text.trimmingCharacters(in: .newlines)
}
