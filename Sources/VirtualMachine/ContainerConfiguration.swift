import FoundationEssentials
import GuestInfoHost

/// A minimal OCI runtime configuration (runtime-spec 1.2.0, config.json) for one command.
public struct ContainerConfiguration: Sendable, Equatable, Encodable {
    struct User: Sendable, Equatable, Encodable {
        var uid: UInt32
        var gid: UInt32
    }
    struct Process: Sendable, Equatable, Encodable {
        var args: [String]
        var cwd: String
        var env: [String]
        var user: User
    }
    struct Root: Sendable, Equatable, Encodable {
        var path = "rootfs"
        var readonly: Bool
    }

    /// An adapter that asks DHCP (docs/configuration.md, `tether.network`).
    struct Adapter: Sendable, Equatable, Encodable {
        var dhcp4 = true
    }
    struct Network: Sendable, Equatable, Encodable {
        var version = 2
        var ethernets: [String: Adapter]
    }
    struct Tether: Sendable, Equatable, Encodable {
        var network: Network
    }

    private(set) var ociVersion = "1.2.0"
    var process: Process
    var root: Root
    var hostname: String
    /// nil leaves it out.
    var tether: Tether?

    /// The PATH a container gets that sets none: the one Docker gives.
    public static let defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// - Parameters:
    ///   - environment: `NAME=value`; a later one replaces an earlier one of the same name. PATH is added if absent.
    ///   - terminal: the value of TERM if `environment` has none; nil leaves it out.
    ///   - adapters: how many network adapters the VM has; each asks DHCP.
    public init(
        arguments: [String], environment: [String] = [], terminal: String? = nil, directory: String = "/", uid: UInt32 = 0, gid: UInt32 = 0,
        hostname: String = "container", isReadOnly: Bool = false, adapters: Int = 0
    ) {
        var variables = ["PATH=\(Self.defaultPath)"]
        if let terminal { variables.append("TERM=\(terminal)") }
        for variable in environment {
            let name = variable.prefix { $0 != "=" } + "="
            variables.removeAll { $0.hasPrefix(name) }
            variables.append(variable)
        }
        process = Process(args: arguments, cwd: directory, env: variables, user: User(uid: uid, gid: gid))
        root = Root(readonly: isReadOnly)
        self.hostname = hostname
        if adapters > 0 {
            let names = (0..<adapters).map { ("eth\($0)", Adapter()) }
            tether = Tether(network: Network(ethernets: Dictionary(uniqueKeysWithValues: names)))
        }
    }

    /// The configuration as JSON, with its members sorted.
    public func json() throws(VirtualMachineError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do { return Array(try encoder.encode(self)) } catch { throw VirtualMachineError("encode the configuration", "", "\(error)") }
    }

    /// Reads `uid` or `uid:gid`, both decimal; without a group it is 0.
    public static func parseUser(_ text: String) -> (uid: UInt32, gid: UInt32)? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let uid = UInt32(parts[0]) else { return nil }
        guard parts.count == 2 else { return (uid, 0) }
        return UInt32(parts[1]).map { (uid, $0) }
    }
}

/// How a configuration travels in `guestinfo.tether.config`.
public enum ConfigurationDelivery {
    /// Longer ones go compressed unless the user says otherwise: VMware's limits on one value begin at 64 KiB.
    public static let plainLimit = 48 * 1024

    /// The guestinfo variables that deliver `configuration`.
    /// - Parameter encoding: nil for the one suited to its length.
    public static func variables(
        _ configuration: [UInt8], encoding: ValueEncoding? = nil
    ) throws(VirtualMachineError) -> [String: [UInt8]] {
        let encoding = encoding ?? (configuration.count > plainLimit ? .gzipBase64 : .plain)
        let value: [UInt8]
        do throws(ValueEncodingError) { value = try encoding.encode(configuration) } catch {
            throw VirtualMachineError("encode the configuration", "", error.description)
        }
        var variables = ["guestinfo.tether.config": value]
        if encoding != .plain { variables["guestinfo.tether.config.encoding"] = Array(encoding.rawValue.utf8) }
        return variables
    }
}
