import CLinux
import ContainerSpec
import Linux
import Network

/// busybox's udhcpc for one adapter: a helper that tells what the network's server gives (docs/architecture.md).
final class DHCPClient: EventHandler {
    /// The entry's name in the configuration.
    let id: String
    let interface: String
    /// The adapter's number, which another one under its name has not.
    let index: UInt32
    let helper: Helper
    private let loop: EventLoop
    private let diagnostics: Diagnostics
    /// Told of each event of the client.
    private let take: (LeaseEvent) -> Void
    /// Told what is wrong with what it says.
    private let warn: (String) -> Void
    private var socket: FileDescriptor?
    private var watch: EventLoop.Watch?
    private var isClosing = false
    /// A client in bad hands, or of a server that plays with it, does not keep PID 1 at work.
    private var allowance = Allowance(burst: 8, interval: 1_000_000_000)
    /// When it is listened to again.
    private var listenAt: Int64?
    /// What a client that is started again asks for.
    private final class Wish { var address: String? }
    private let wish: Wish

    /// A user that no image and no distribution uses, and no other helper.
    private static let identity: uid_t = 2_147_480_002
    /// Every two seconds, with a second's rest after five times: the container waits, and what is away may come any time.
    private static let timing = ["-t", "5", "-T", "2", "-A", "1"]
    private static let options = ["subnet", "router", "dns", "domain", "search", "staticroutes", "mtu"]

    /// - Parameters:
    ///   - link: the adapter; it is switched on.
    ///   - hostname: what the server may call the machine.
    ///   - machine: its UUID, by which the server knows it again; empty where it has none.
    ///   - address: what it asks for; nil is any.
    init(
        _ id: String, _ link: Link, hostname: String, machine: String, address: String?, _ loop: EventLoop, _ diagnostics: Diagnostics,
        take: @escaping (LeaseEvent) -> Void, warn: @escaping (String) -> Void
    ) {
        self.id = id
        self.loop = loop
        self.diagnostics = diagnostics
        self.take = take
        self.warn = warn
        interface = link.name
        index = link.index
        let wish = Wish()
        wish.address = address
        self.wish = wish
        let program = "/sbin/udhcpc"
        var words = [program, "-f", "-R", "-i", link.name, "-s", "/sbin/tether-lease"] + DHCPClient.timing + ["-o"]
        for option in DHCPClient.options { words += ["-O", option] }
        let identifier = ClientIdentifier.bytes(machine: machine, macAddress: link.macAddress)
        words += ["-x", "0x3d:" + ClientIdentifier.hexadecimal(identifier)]
        if DHCPClient.isHostname(hostname) { words += ["-x", "hostname:" + hostname] }
        helper = Helper(
            "dhcp \(link.name)", program, "", loop, diagnostics,
            launch: { socket, errors in
                var all = words
                if let address = wish.address { all += ["-r", address] }
                var bytes: [UInt8] = []
                for word in all { bytes += Array(word.utf8) + [0] }
                return bytes.withUnsafeBytes {
                    let text = $0.baseAddress?.assumingMemoryBound(to: CChar.self)
                    return clinux_start_dhcp_client(text, Int32(clamping: all.count), socket, errors, DHCPClient.identity)
                }
            })
    }

    /// RFC 1123, section 2.1; what else a container may be called, a server need not know.
    private static func isHostname(_ text: String) -> Bool {
        let isAllowed = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            case UInt8(ascii: "-"), UInt8(ascii: "."): true
            default: false
            }
        }
        return isAllowed && (1...253).contains(text.utf8.count) && text.utf8.first != UInt8(ascii: "-")
    }

    /// Starts it when it is time to.
    /// - Returns: whether it was started.
    func startIfDue(_ now: Int64) -> Bool {
        guard let number = helper.startIfDue(now) else { return false }
        stopListening()
        let opened = FileDescriptor(owning: number)
        do throws(SyscallError) { try opened.setNonBlocking() } catch { diagnostics.warning(error.description) }
        watch = loop.watch(opened.rawValue, .readable, self, role: 0)
        socket = consume opened
        return true
    }

    /// When it is to be looked at.
    var nextDeadline: Int64? { helper.nextDeadline.earlier(listenAt) }

    func checkDeadlines(_ now: Int64) {
        guard let due = listenAt, due <= now else { return }
        listenAt = nil
        if let descriptor = socket?.rawValue { watch = loop.watch(descriptor, .readable, self, role: 0) }
    }

    func ready(role: Int32, _ event: Epoll.Event) {
        // A client that says more than this at once is looked at again in the next turn; one that goes on, when it may speak again.
        for _ in 0..<8 {
            let now = Clock.monotonic()
            if !isClosing && allowance.nextAt > now { return rest() }
            var read: [UInt8]?
            do throws(SyscallError) { read = try socket?.read(atMost: LeaseMessage.limit + 1, object: interface) } catch {
                return stopListening()
            }
            guard let message = read else { return }
            // Neither the client nor its script is left.
            if message.isEmpty { return stopListening() }
            if isClosing { continue }
            _ = allowance.take(now)
            do throws(NetworkError) {
                let event = try LeaseMessage.decode(message)
                if case .lease(let lease) = event { wish.address = lease.address.address.text }
                // The first round of asking is told in full, and then that it goes on.
                helper.isQuiet = event == .noAnswer
                take(event)
            } catch {
                warn(error.description)
            }
        }
    }

    /// What it says meanwhile waits, and so does its script, when there is no room for more.
    private func rest() {
        if let watch { loop.unwatch(watch) }
        watch = nil
        listenAt = allowance.nextAt
    }

    /// Ends it: it gives its lease back. What it says of that is no news, but its script shall find somebody to say it to.
    func close() {
        isClosing = true
        checkDeadlines(.max)
        helper.terminate()
    }

    private func stopListening() {
        if let watch { loop.unwatch(watch) }
        watch = nil
        socket = nil
        listenAt = nil
    }
}
