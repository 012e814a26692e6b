import ArgumentParser
import CLinux
import Foundation
import Glibc
import Linux
import SSH
import SSHBed

/// An SSH server for trying clients out and for tests: `ssh -o ProxyCommand='ssh-bed …' anyone@anywhere`.
@main struct SSHBedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ssh-bed", abstract: "Serves one SSH connection on standard input and output, or many on a unix socket.")

    @Option(help: ArgumentHelp("A private host key; may be repeated.", valueName: "file"))
    var hostKey: [String] = []

    @Option(help: ArgumentHelp("Public keys that may log in, as in authorized_keys.", valueName: "file"))
    var authorizedKeys: String?

    @Flag(help: "Lets everyone in.")
    var none = false

    @Option(help: ArgumentHelp("Lets this user in without a key.", valueName: "name"))
    var openUser: String?

    @Option(help: "Shown before the log-in.")
    var banner: String?

    @Flag(help: "Offers compression.")
    var compression = false

    @Option(help: ArgumentHelp("Replaces the keys after so many bytes.", valueName: "bytes"))
    var rekey: UInt64?

    @Option(help: ArgumentHelp("The time to log in.", valueName: "ms"))
    var loginTime: Int64?

    @Option(help: ArgumentHelp("A session of VIC's kind, which a channel of type attach joins; may be repeated.", valueName: "id=command"))
    var attach: [String] = []

    @Option(help: ArgumentHelp("Listens here instead, and serves each connection by a process of its own.", valueName: "path"))
    var socket: String?

    @Option(help: ArgumentHelp("Appends what happens to a file, not to standard error.", valueName: "file"))
    var log: String?

    func run() throws {
        // A client that hangs up is seen by the write that fails.
        signal(SIGPIPE, SIG_IGN)
        if let socket { try listen(on: socket) }
        var server = ServerConfiguration(hostKeys: try hostKey.map { try PrivateKey(text: try text($0)) })
        if let authorizedKeys {
            let lines = try text(authorizedKeys).split(separator: "\n").filter { !$0.hasPrefix("#") }
            server.authentication.authorizedKeys = try lines.map { try AuthorizedKey(line: String($0)) }
        }
        server.authentication.allowsNone = none
        server.authentication.openUser = openUser
        server.authentication.banner = banner
        if let loginTime { server.authentication.milliseconds = loginTime }
        server.transport.compressionEnabled = compression
        if let rekey { server.transport.rekeyBytes = rekey }
        var configuration = BedConfiguration(server)
        configuration.attachable = try attach.map { pair in
            guard let equals = pair.firstIndex(of: "=") else { throw ValidationError("'\(pair)' is not of the form id=command") }
            return (String(pair[..<equals]), String(pair[pair.index(after: equals)...]))
        }
        let file = try log.map { try FileDescriptor.open($0, O_WRONLY | O_CREAT | O_APPEND, mode: 0o644).take() } ?? 2
        configuration.log = { line in
            var text = Array("ssh-bed: \(line)\n".utf8)
            _ = write(file, &text, text.count)
        }
        configuration.log("pid \(getpid())")
        try Bed(configuration, input: 0, output: 1).run()
    }

    private func text(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
    }

    /// Starts itself again for each connection, with the socket as standard input and output.
    private func listen(on path: String) throws -> Never {
        unlink(path)
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let listener = try attempt("socket") { CLinux.socket(AF_UNIX, type, 0) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8).prefix($0.count - 1)) }
        try attempt("bind", path) { () -> Int32 in
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(listener, __CONST_SOCKADDR_ARG(__sockaddr__: $0), socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        try attempt("listen", path) { CLinux.listen(listener, 16) }
        signal(SIGCHLD, SIG_IGN)
        var arguments = CommandLine.arguments
        if let index = arguments.firstIndex(of: "--socket") { arguments.removeSubrange(index...min(index + 1, arguments.count - 1)) }
        arguments.removeAll { $0.hasPrefix("--socket=") }
        while true {
            let connection = accept4(listener, __SOCKADDR_ARG(__sockaddr__: nil), nil, Int32(SOCK_CLOEXEC.rawValue))
            guard connection >= 0 else { continue }
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            posix_spawn_file_actions_adddup2(&actions, connection, 0)
            posix_spawn_file_actions_adddup2(&actions, connection, 1)
            var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
            words.append(nil)
            var pid: pid_t = 0
            let status = posix_spawn(&pid, "/proc/self/exe", &actions, nil, words, Glibc.environ)
            if status != 0 { throw SyscallError("posix_spawn", "ssh-bed", Errno(rawValue: status)) }
            for word in words { free(word) }
            posix_spawn_file_actions_destroy(&actions)
            _ = close(connection)
        }
    }
}
