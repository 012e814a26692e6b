import CLinux
import ContainerSpec
import Control
import Linux
import Sessions

/// The attach server as PID 1 sees it: a helper that is told its keys, and whose host keys are published (docs/attach.md).
final class AttachHelper {
    static let hostKeysKey = "guestinfo.tether.attach.hostkeys"
    static let fingerprintsKey = "guestinfo.tether.attach.fingerprints"

    let helper: Helper
    private let runtime: Runtime
    private var connection: ControlConnection?
    /// Whether the present server has said what its keys are. Once is enough: each time is several exchanges with the host.
    private var hasAnnounced = false
    /// What is published, so that a server that is started again costs no exchange.
    private var published: [HostKey] = []

    init(_ settings: AttachSettings, _ runtime: Runtime) {
        self.runtime = runtime
        let seed = Seed()
        helper = Helper("attach server", "/sbin/tether-attach", settings.device, runtime.loop, runtime.diagnostics) {
            () throws(SyscallError) in
            // Also where the server needs no seed: once it is there, nothing that asks the kernel for randomness waits.
            let drawn = try seed.bytes()
            return AttachServerSettings(
                allowsNone: settings.authentication == .none, allowsVIC: settings.allowsVIC, compresses: settings.compresses,
                authorizedKeys: settings.authorizedKeys, hostKeys: settings.hostKeys,
                // VIC's key is RSA of 512 bits, which only its own VCH takes: there are better ones beside it.
                seed: settings.hostKeys.isEmpty || settings.allowsVIC ? Array(drawn.prefix(Seed.size)) : [],
                boot: drawn.dropFirst(Seed.size).reduce(0) { $0 << 8 | UInt64($1) }
            ).encoded
        }
    }

    /// The random bytes of this boot: for its host key, and behind them for its number. Drawn when they are first needed, and the same
    /// ever after.
    private final class Seed {
        static let size = 64
        private var drawn: [UInt8] = []

        /// - Throws: EAGAIN while the kernel has no randomness yet; nobody waits for it.
        func bytes() throws(SyscallError) -> [UInt8] {
            if !drawn.isEmpty { return drawn }
            var bytes = [UInt8](repeating: 0, count: Seed.size + 8)
            let count = try attempt("getrandom", "a seed for the attach server") {
                bytes.withUnsafeMutableBytes { getrandom($0.baseAddress, $0.count, clinux_random_at_once) }
            }
            guard count == bytes.count else { throw SyscallError("getrandom", "a seed for the attach server", .wouldBlock) }
            drawn = bytes
            return bytes
        }
    }

    func started(_ connection: ControlConnection) {
        self.connection = connection
        hasAnnounced = false
    }

    func closed(_ connection: ControlConnection) { if self.connection === connection { self.connection = nil } }

    /// Publishes the server's host keys in guestinfo.
    func announce(_ keys: [HostKey], from client: ControlConnection) -> RequestFailure? {
        func refuse(_ code: RequestFailure.Code, _ cause: String) -> RequestFailure {
            RequestFailure(code, operation: "announce", object: "host keys", cause: cause)
        }
        guard client === connection else { return refuse(.invalid, "only the attach server has any") }
        if hasAnnounced { return refuse(.busy, "they have been announced") }
        guard keys.allSatisfy({ AttachHelper.isPlain($0.line) && AttachHelper.isPlain($0.fingerprint) }) else {
            return refuse(.invalid, "they are not lines of text")
        }
        hasAnnounced = true
        if keys == published { return nil }
        func fail(_ cause: String) -> RequestFailure {
            // The server can do nothing about it, and whoever waits for the keys finds none.
            runtime.diagnostics.warning("publish the attach server's host keys: \(cause)")
            return refuse(.failed, cause)
        }
        guard runtime.status.host != nil else { return fail("there is no host to tell") }
        let lines = keys.map { $0.line + "\n" }.joined()
        let fingerprints = keys.map { $0.fingerprint + "\n" }.joined()
        for (key, text) in [(AttachHelper.hostKeysKey, lines), (AttachHelper.fingerprintsKey, fingerprints)] {
            runtime.status.publish(key, Array(text.utf8))
        }
        published = keys
        return nil
    }

    private static func isPlain(_ text: String) -> Bool { text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } }
}
