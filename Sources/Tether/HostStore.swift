import CLinux
import GuestInfo
import Linux

/// The host's key-value store, as those see it that only write.
protocol KeyWriter: AnyObject {
    /// Whether a request may sleep between its tries. The event loop's may not.
    var maySleep: Bool { get set }

    /// Writes a value.
    /// - Returns: why the host did not take it; nil when it did.
    func set(_ key: String, _ value: [UInt8]) -> String?
}

/// The host of this machine.
typealias Host = HostStore<HardwarePort>

/// The host's key-value store, once the backdoor has proved to answer.
final class HostStore<Port: BackdoorPort>: KeyWriter {
    private let client: GuestInfoClient<Port>
    private let patient: [Int64]

    init(_ client: GuestInfoClient<Port>) {
        self.client = client
        patient = client.rpci.retry.pauses
    }

    var maySleep = true {
        // Without a pause a request is tried once more, on a new channel: what has become of the old one is the commonest failure.
        didSet { client.rpci.retry.pauses = maySleep ? patient : [0] }
    }

    /// Looks whether this is a VMware machine, and tries the backdoor in a child that may die of it.
    /// - Returns: nil when it is none or nothing answers; why stands on the diagnostics port.
    static func open(_ diagnostics: Diagnostics) -> Host? where Port == HardwarePort {
        let verdict = Platform.current().verdict
        guard case .vmware = verdict else {
            diagnostics.error("no guestinfo: \(verdict.description)")
            return nil
        }
        let outcome = Probe.run()
        guard outcome == .answered else {
            diagnostics.error("no guestinfo: \(verdict.description), but \(outcome.description)")
            return nil
        }
        diagnostics.debug("guestinfo: \(verdict.description)")
        return Host(GuestInfoClient(port: HardwarePort()))
    }

    func set(_ key: String, _ value: [UInt8]) -> String? {
        do throws(GuestInfoError) {
            try client.set(key, value)
            return nil
        } catch {
            return error.description
        }
    }

    /// Reads a value as it is.
    /// - Returns: nil when the host has none, or does not say.
    func value(_ key: String) -> [UInt8]? { (try? client.get(key)) ?? nil }

    /// Runs `body`, which reads several values by ``exact(_:)``, over one channel.
    func overOneChannel<Result>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        client.rpci.use = .held
        defer {
            client.rpci.use = .perRequest
            client.rpci.close()
        }
        return try body()
    }

    /// Reads a value as it is, also where it is one that stands for none.
    /// - Returns: nil when the host has none.
    func exact(_ key: String) throws(GuestInfoError) -> [UInt8]? { try client.exact(key) }

    /// Reads a value and undoes its encoding.
    /// - Returns: nil when the host has none.
    func decoded(_ key: String, limit: Int) throws(Failure) -> [UInt8]? {
        do throws(GuestInfoError) { return try client.getDecoded(key, limit: limit) } catch {
            throw Failure(error.operation, error.object, error.cause.description)
        }
    }

    /// A line for the host's own log of this VM (vmware.log). Lost without harm.
    func log(_ line: String) { try? client.log("tether: " + line) }
}
