import Foundation
import Glibc
import SSH
import Testing

/// A server made of the transport alone, and OpenSSH's client, which is content with it up to the authentication and beyond.
@Suite(.serialized) struct OpenSSHTests {
    @Test(arguments: AlgorithmPreferences.supportedCiphers, AlgorithmPreferences.supportedKeyExchange)
    func theClientComesIn(_ cipher: String, _ keyExchange: String) throws {
        for (mac, compression) in [("hmac-sha2-256-etm@openssh.com", "no"), ("hmac-sha2-256", "yes")] {
            try converse(["-c", cipher, "-m", mac, "-o", "KexAlgorithms=\(keyExchange)", "-o", "Compression=\(compression)"])
        }
    }

    @Test(arguments: ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"])
    func theClientVerifiesTheHostKey(_ algorithm: String) throws {
        try converse(["-o", "HostKeyAlgorithms=\(algorithm)"])
    }

    private struct Seen {
        var user = ""
        var service = ""
        var channel = ""
    }

    /// Lets the client in without asking, with other keys in between, until it opens its channel.
    private func converse(_ options: [String]) throws {
        let scratch = try Scratch()
        var keys = try [PrivateKey(ed25519Seed: TransportPair.seed), PrivateKey(ecdsaP256Scalar: [9])]
        if options.contains(where: { $0.contains("rsa") }) {
            try scratch.run("ssh-keygen -q -t rsa -b 2048 -N '' -f rsa")
            keys.append(try PrivateKey(text: String(decoding: try scratch.read("rsa"), as: UTF8.self)))
        }
        try scratch.write("known", keys.map { "machine \($0.publicKey.line)\n" }.joined())
        #expect(try scratch.run("mkfifo up down").status == 0)
        // For both, so that opening waits for nobody.
        let (up, down) = (open("\(scratch.path)/up", O_RDWR), open("\(scratch.path)/down", O_RDWR))
        try #require(up >= 0 && down >= 0)
        let client = Process()
        client.executableURL = URL(fileURLWithPath: "/usr/bin/ssh")
        client.currentDirectoryURL = URL(fileURLWithPath: scratch.path)
        client.arguments =
            ["-F", "none", "-o", "ProxyCommand=cat down & exec cat >up", "-o", "UserKnownHostsFile=known"]
            + ["-o", "StrictHostKeyChecking=yes", "-o", "IdentityFile=none", "-o", "IdentitiesOnly=yes"] + options
            + ["somebody@machine", "true"]
        client.standardInput = FileHandle.nullDevice
        client.standardOutput = FileHandle.nullDevice
        let complaints = Pipe()
        client.standardError = complaints
        try client.run()
        defer { client.terminate() }
        let served = Result { try serve(up, down, keys) }
        // The end of the file for what feeds the client, which has its standard error, too.
        close(up)
        close(down)
        let seen = try served.get()
        client.waitUntilExit()
        let text = String(decoding: complaints.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        #expect(seen.service == "ssh-userauth" && seen.user == "somebody" && seen.channel == "session", "\(options): \(text)")
        #expect(text.contains("enough of it"), "\(text)")
    }

    private func serve(_ up: Int32, _ down: Int32, _ keys: [PrivateKey]) throws -> Seen {
        var configuration = TransportConfiguration(role: .server)
        configuration.hostKeys = keys
        configuration.compressionEnabled = true
        let random = RandomSource { (0..<$0).map { _ in UInt8.random(in: 0...255) } }
        let transport = Transport(configuration, random: random, now: 0)
        var seen = Seen()
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            transport.withOutput { max(0, write(down, $0.baseAddress, $0.count)) }
            if transport.isClosed && transport.pendingOutput == 0 { return seen }
            guard transport.pendingOutput == 0 else { continue }
            guard isReadable(up) else { return seen }
            let count = read(up, &buffer, buffer.count)
            guard count > 0 else { return seen }
            try buffer[..<count].withUnsafeBytes { try transport.receive($0, now: 0) }
            while let event = transport.nextEvent() {
                guard case .message(let message) = event else { continue }
                answer(message, transport, &seen)
            }
        }
    }

    private func answer(_ message: [UInt8], _ transport: Transport, _ seen: inout Seen) {
        var reader = WireReader(message, from: 1)
        switch message[0] {
        case 5:
            seen.service = reader.text()
            var accept = WireWriter(message: 6)
            accept.text(seen.service)
            transport.send(accept.bytes)
        case 50:
            seen.user = reader.text()
            transport.send([52])
            transport.rekey()
        case 90:
            seen.channel = reader.text()
            transport.disconnect(SSHError(.byApplication, "test", "", "enough of it"))
        default: break
        }
    }

    private func isReadable(_ descriptor: Int32) -> Bool {
        var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&watched, 1, 20_000) == 1
    }
}
