import Foundation
import Testing

/// Runs a command of the shell in a directory of its own.
final class Scratch {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/ssh-tests-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)"))) }

    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        // What ssh-keygen insists on for private keys.
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: "\(path)/\(name)")
    }

    /// - Returns: its standard output, and its exit status.
    @discardableResult func run(_ command: String) throws -> (output: String, status: Int32) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", command]
        process.currentDirectoryURL = URL(fileURLWithPath: path)
        process.standardInput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (text, process.terminationStatus)
    }
}

/// A key of 512 bits, as VIC's are. It protects nothing.
let shortRSAKey = """
    -----BEGIN RSA PRIVATE KEY-----
    MIIBOwIBAAJBAOIZY0iE6UJMVjxxXbS2UE3ZYrYC/Ot5qyktYHwRevUEUzrQ1Cdg
    tZxAIgC+G/wlKY92wBfioSaVyWYxxeyrBL0CAwEAAQJBAJ9Bpq8j/3FVd8CnUYvC
    hxnurxrpS+FJGAivD7EUVvlROTBHDtG4yoLjAkW8Y2LAIyHV4TUefq14PI70MZd6
    tvkCIQD9qi1Q3xjUbfcGxOJ9+EtR4gxZyyCcnEWvCWcSgrxuuwIhAOQuPutIJlw1
    Rpq5m7PY/xwzN2J06QnPEwihwPh+IK7nAiBbtINPgmhKnDq7QsCTRAmO38cRS2NN
    2x1CK4cM5SDUcwIgBv6n7Rx8GI2FiY6xCDVZtKqZQwpkbmmLotMakEOFivcCIQCZ
    uiT5CeXwT7GfzYwvj+iqmi6nsP964CAIv6rWa5NDKg==
    -----END RSA PRIVATE KEY-----
    """
