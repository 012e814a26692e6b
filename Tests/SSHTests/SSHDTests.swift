import Foundation
import SSH
@testable import SSHBed
import Testing

/// Our client against OpenSSH's server.
///
/// `sshd -i` serves one connection on its standard input and output. It runs as root in a mount namespace of its own, where there is
/// the user that it wants for itself and the directory that it locks this user in.
@Suite(.serialized) struct SSHDTests {
    private let bed: InteropBed
    private let random = RandomSource.system

    init() throws {
        bed = try InteropBed()
        let root = "\(InteropBed.checkout)/build/interop/sshd"
        try #require(FileManager.default.fileExists(atPath: root), "make build/interop fetches OpenSSH's server")
        try bed.write(
            """
            set -e
            cd \(bed.directory)
            grep -v ^sshd: /etc/passwd >passwd.$$
            echo 'sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin' >>passwd.$$
            mount --bind passwd.$$ /etc/passwd
            mount -t tmpfs none /run
            mkdir -m 755 /run/sshd
            export LD_LIBRARY_PATH=\(root)/usr/lib/x86_64-linux-gnu
            exec \(root)/usr/sbin/sshd -i -e -f /dev/null -h $PWD/host_ed25519 -h $PWD/host_ecdsa -h $PWD/host_rsa \
                -o AuthorizedKeysFile=$PWD/authorized -o StrictModes=no -o UsePAM=no -o PermitRootLogin=yes -o LogLevel=ERROR "$@"
            """, to: "sshd")
    }

    private func key(_ name: String) throws -> PrivateKey { try PrivateKey(text: try bed.read(name)) }

    /// A client that expects a host key of the type.
    private func configuration(host: String = "ed25519", user: String = "user_ed25519") throws -> ClientConfiguration {
        let expected = try PublicKey(line: try bed.read("host_\(host).pub"))
        var configuration = ClientConfiguration(user: "root", keys: [try key(user)]) { $0 == expected }
        configuration.transport.algorithms.hostKey = expected.signatureAlgorithms
        return configuration
    }

    private func run(
        _ configuration: ClientConfiguration, _ requests: [SessionRequest], input: [UInt8] = [], options: String = ""
    ) throws -> ClientRun.Result {
        let server = "exec unshare --mount bash \(bed.path("sshd")) \(options)"
        return try ClientRun(configuration, server: server, requests: requests, input: input).run(milliseconds: 120_000)
    }

    private func command(_ text: String) -> SessionRequest { .execute(command: Array(text.utf8)) }

    @Test(arguments: AlgorithmPreferences.supportedKeyExchange, AlgorithmPreferences.supportedHostKey)
    func everyCombinationOfAlgorithms(keyExchange: String, hostKey: String) throws {
        let type = hostKey == "ssh-ed25519" ? "ed25519" : hostKey == "ecdsa-sha2-nistp256" ? "ecdsa" : "rsa"
        var configuration = try configuration(host: type)
        configuration.transport.algorithms.keyExchange = [keyExchange]
        configuration.transport.algorithms.hostKey = [hostKey]
        // Signatures with SHA-1 are not taken unless that is asked for.
        configuration.transport.allowsWeakHostKeys = hostKey == "ssh-rsa"
        for cipher in AlgorithmPreferences.supportedCiphers {
            for mac in cipher.hasSuffix("-ctr") ? AlgorithmPreferences.supportedMACs : [""] {
                configuration.transport.algorithms.ciphers = [cipher]
                if !mac.isEmpty { configuration.transport.algorithms.macs = [mac] }
                let result = try run(
                    configuration, [command("cat; echo err >&2; exit 3")], input: Array("hello".utf8),
                    options: hostKey == "ssh-rsa" ? "-o HostKeyAlgorithms=ssh-rsa" : "")
                let what = "\(keyExchange) \(hostKey) \(cipher) \(mac): \(result.error ?? "")"
                #expect(result.output == Array("hello".utf8) && result.errors == Array("err\n".utf8), "\(what)")
                #expect(result.exitStatus == 3 && result.replies == [true], "\(what)")
                #expect(result.negotiated.keyExchange == keyExchange && result.negotiated.hostKey == hostKey)
                #expect(result.negotiated.clientToServer.cipher == cipher && result.negotiated.serverToClient.mac == mac)
            }
        }
    }

    @Test(arguments: InteropBed.userKeys) func aUsersKey(type: String) throws {
        let known = try run(try configuration(user: "user_\(type)"), [command("echo in")])
        #expect(known.output == Array("in\n".utf8), "\(known.error ?? "")")
        let unknown = try run(try configuration(user: "other_\(type)"), [command("echo in")])
        let fingerprint = try key("other_\(type)").publicKey.fingerprint
        #expect(unknown.output.isEmpty && unknown.error?.contains("it does not take \(fingerprint)") == true, "\(unknown.error ?? "")")
        // One after the other.
        var both = try configuration(user: "other_\(type)")
        both.keys.append(.held(try key("user_\(type)")))
        #expect(try run(both, [command("echo in")]).output == Array("in\n".utf8))
    }

    @Test func aServerWithAnotherKey() throws {
        let expected = try PublicKey(line: try bed.read("other_ed25519.pub"))
        let configuration = ClientConfiguration(user: "root", keys: [try key("user_ed25519")]) { $0 == expected }
        let result = try run(configuration, [command("echo in")])
        #expect(result.output.isEmpty)
        #expect(result.error?.hasSuffix("it is not the one that is expected") == true, "\(result.error ?? "")")
    }

    @Test func signalsAndTerminals() throws {
        let killed = try run(try configuration(), [command("kill -KILL $$")])
        #expect(killed.exitSignal == "KILL" && killed.exitStatus == nil)
        var modes = TerminalModes()
        modes[.vintr] = 24
        modes[.echo] = 0
        let terminal = SessionRequest.terminal(name: "vt220", WindowSize(columns: 99, rows: 33), modes)
        let commands = command("stty size; echo $TERM; stty -a; read line; echo got $line")
        let result = try run(try configuration(), [terminal, commands], input: Array("word\n".utf8))
        let text = String(decoding: result.output, as: UTF8.self)
        #expect(result.replies == [true, true], "\(result.error ?? "")")
        for part in ["33 99\r\nvt220\r\n", "intr = ^X;", "-echo ", "got word"] { #expect(text.contains(part), "\(text)") }
        let refused = try run(try configuration(), [.subsystem(name: "nothing"), command("echo still here")])
        #expect(refused.replies == [false, true] && refused.output == Array("still here\n".utf8))
    }

    /// 64 MiB there and back at once, while the server (or the client) replaces the keys all the time.
    @Test(arguments: ["server", "client", "compression"]) func muchDataBothWays(who: String) throws {
        var configuration = try configuration()
        if who == "client" { configuration.transport.rekeyBytes = 3_000_000 }
        configuration.transport.compressionEnabled = who == "compression"
        if who == "compression" { configuration.transport.algorithms.compression = ["zlib@openssh.com"] }
        let data = random.bytes(64 << 20)
        let result = try run(configuration, [command("cat")], input: data, options: who == "server" ? "-o RekeyLimit=5M" : "")
        #expect(result.output == data, "\(result.output.count) bytes: \(result.error ?? "")")
        #expect(result.negotiated.clientToServer.compression == (who == "compression" ? "zlib@openssh.com" : "none"))
    }

    @Test func aBannerAndKeepalives() throws {
        try bed.write("Welcome\u{1b}[31m to sshd\n", to: "banner")
        // The client is this process, which may be without the processor for seconds where there is much to do: that is no silence.
        let options = "-o Banner=\(bed.path("banner")) -o ClientAliveInterval=1 -o ClientAliveCountMax=10"
        let result = try run(try configuration(), [command("sleep 4; echo alive")], options: options)
        #expect(result.output == Array("alive\n".utf8), "\(result.error ?? "")")
        #expect(result.banner.hasPrefix("Welcome [31m to sshd\n"), "\(result.banner)")
    }
}
