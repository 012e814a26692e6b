import Foundation
import Linux
import Testing

/// What a program did.
struct Outcome {
    var status: Int32
    var output: [UInt8]
    var errors: String

    var text: String { String(decoding: output, as: UTF8.self) }
}

/// A directory with keys, and `ssh-bed` to connect to.
final class InteropBed {
    let directory: String
    /// A key of each type that users have.
    static let userKeys = ["ed25519", "ecdsa", "rsa"]

    init() throws {
        directory = NSTemporaryDirectory() + "tether-ssh-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        for type in Self.userKeys {
            for name in ["host", "user", "other"] {
                let bits = type == "rsa" ? "-b 2048" : type == "ecdsa" ? "-b 256" : ""
                let made = try sh("ssh-keygen -q -t \(type) \(bits) -N '' -C \(name) -f \(name)_\(type)")
                try #require(made.status == 0, "\(made.errors)")
            }
        }
        _ = try sh("cat user_*.pub >authorized; for t in ed25519 ecdsa rsa; do echo \"bed $(cut -d' ' -f1,2 host_$t.pub)\"; done >known")
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func path(_ name: String) -> String { directory + "/" + name }

    func write(_ text: String, to name: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path(name))) }

    func read(_ name: String) throws -> String { String(decoding: try Data(contentsOf: URL(fileURLWithPath: path(name))), as: UTF8.self) }

    /// What was built beside the tests.
    static func product(_ name: String) throws -> String {
        let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent(name).path
    }

    /// The top of the checkout.
    static var checkout: String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    }

    /// The command that serves one connection. What happens is in the file `log`.
    func bed(_ arguments: String = "", authorized: String = "authorized") throws -> String {
        let keys = Self.userKeys.map { "--host-key \(path("host_\($0)"))" }.joined(separator: " ")
        return "\(try Self.product("ssh-bed")) \(keys) --authorized-keys \(path(authorized)) --log \(path("log")) \(arguments)"
    }

    /// The command that connects OpenSSH's client to the bed, up to the remote command.
    func ssh(_ options: String = "", bed arguments: String = "", user: String = "someone", key: String = "user_ed25519") throws -> String {
        """
        ssh -F none \(options) -i \(path(key)) -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile=\(path("known")) \
        -o StrictHostKeyChecking=yes -o LogLevel=ERROR -o 'ProxyCommand=\(try bed(arguments))' \(user)@bed
        """
    }

    /// Runs a shell command in the directory; one that takes longer than `seconds` is killed, and its status is 124 or 137.
    @discardableResult
    func sh(_ command: String, seconds: Int = 60) throws -> Outcome {
        let names = ["out", "err"].map { path(".\($0)-\(UUID().uuidString)") }
        for name in names { try Data().write(to: URL(fileURLWithPath: name)) }
        defer { for name in names { try? FileManager.default.removeItem(atPath: name) } }
        let status = try Self.spawn(["timeout", "-k", "1", "\(seconds)", "bash", "-c", "cd \(directory); \(command)"], output: names)
        let (output, errors) = (try Data(contentsOf: URL(fileURLWithPath: names[0])), try Data(contentsOf: URL(fileURLWithPath: names[1])))
        return Outcome(status: status, output: Array(output), errors: String(decoding: errors, as: UTF8.self))
    }

    /// Runs a program to its end. Not Foundation's Process: what it starts has the signals blocked that Dispatch's threads have.
    private static func spawn(_ arguments: [String], output: [String]) throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        for (number, path) in output.enumerated() { posix_spawn_file_actions_addopen(&actions, Int32(number + 1), path, O_WRONLY, 0) }
        // Foundation's pipes are not closed by exec: whoever else has their ends keeps their readers waiting for an end.
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var (all, none) = (sigset_t(), sigset_t())
        sigfillset(&all)
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        let words: [UnsafeMutablePointer<CChar>?] = arguments.map { (word: String) in strdup(word) } + [nil]
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let failure = posix_spawnp(&pid, arguments[0], &actions, &attributes, words, environ)
        try #require(failure == 0, "posix_spawn \(arguments[0]): error \(failure)")
        var status: Int32 = 0
        while waitpid(pid, &status, 0) == -1, errno == EINTR {}
        return ProcessEnd(waitStatus: status).exitCode
    }
}
