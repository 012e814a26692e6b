import ContainerSpec
import VIC

/// A store of keys as a VM's extraConfig is one: upper and lower case are the same. It counts what it is asked for.
final class KeyStore {
    private(set) var values: [String: [UInt8]] = [:]
    private(set) var asked: [String] = []
    /// A key that cannot be read now.
    var unreadable: String?

    init(_ pairs: [(String, String)]) { for (key, value) in pairs { self[key] = value } }
    convenience init(_ pairs: [VICKeyValue]) { self.init(pairs.map { ($0.key, $0.value) }) }

    subscript(key: String) -> String? {
        get { values[key.lowercased()].map { String(decoding: $0, as: UTF8.self) } }
        set { values[key.lowercased()] = newValue.map { Array($0.utf8) } }
    }

    func set(_ key: String, bytes: [UInt8]) { values[key.lowercased()] = bytes }

    func read(_ extent: VICExtent = .needed, known: @escaping (String) -> VICKnowledge = { _ in .none }) throws(SpecError) -> VICReading? {
        asked = []
        return try VICExecutorConfig.read(extent, known: known) { (key) throws(VICSourceError) in
            self.asked.append(key)
            if key == self.unreadable { throw VICSourceError("the host is busy") }
            return self.values[key.lowercased()]
        }
    }
}

let containerID = "9f0e57cbd8a2418f8d3c1ab7a6f0d7c49f0e57cbd8a2418f8d3c1ab7a6f0d7c4"

/// What VIC's portlayer writes for a container with a terminal, a volume and an adapter that asks DHCP.
let portlayerKeys: [(String, String)] = {
    let session = "guestinfo.vice./sessions|\(containerID)"
    let writable = "guestinfo.vice..sessions|\(containerID)"
    let network = "guestinfo.vice./networks|dhcpnet"
    return [
        ("guestinfo.vice./common/id", containerID), ("guestinfo.vice./sessions", containerID),
        (session + "/common/id", containerID), (session + "/cmd/Path", "/bin/sh"), (session + "/cmd/Args", "0"),
        (session + "/cmd/Args~", "/bin/sh"), (session + "/cmd/Env", "1"), (session + "/cmd/Env~", "PATH=/usr/bin:/bin|TERM=xterm"),
        (session + "/cmd/Dir", "/"), (session + "/tty", "true"), (session + "/openstdin", "true"), (session + "/attach", "true"),
        (session + "/active", "true"), (session + "/restart", "false"), (session + "/stopSignal", "TERM"), (session + "/User", "1000"),
        (session + "/Group", "1000"), (writable + ".runblock", "true"), (writable + ".started", "<nil>"), (writable + ".status", "0"),
        (writable + ".detail.createtime", "1500000001"), (writable + ".detail.starttime", "0"), (writable + ".detail.stoptime", "0"),
        ("guestinfo.vice./mounts", "vol1"), ("guestinfo.vice./mounts|vol1/source/Scheme", "label"),
        ("guestinfo.vice./mounts|vol1/source/Path", "5c7f9e2a41b0d3c8"), ("guestinfo.vice./mounts|vol1/dest", "/data"),
        ("guestinfo.vice./mounts|vol1/mode", "rw"), ("guestinfo.vice./mounts|vol1/copymode", "2"),
        ("guestinfo.vice./networks", "dhcpnet"), (network + "/Common/id", "1184"), (network + "/static", "false"),
        (network + "/internal", "false"), (network + "/network/Common/name", "dhcpnet"), (network + "/network/TrustLevel", "1"),
        (network + "/network/default", "true"), (network + "/network/dns", "0"), (network + "/network/dns|0", "AAAAAAAAAAAAAP//rBAAAg=="),
        (network + "/network/gateway/IP", "rBAAAQ=="), (network + "/network/gateway/Mask", "//8AAA=="),
        (network + "/ports", "1"), (network + "/ports~", "80/tcp|8080:80/tcp"),
        ("guestinfo.vice..networks|dhcpnet.network.type", "external"),
        ("guestinfo.vice./key", "LS0tLS1CRUdJTi0tLS0t"), ("guestinfo.vice./diagnostics/debug", "1"),
        ("guestinfo.vice./version/PluginVersion", "10"), ("guestinfo.vice./hostname", "busybox1"), ("common/name", "hidden"),
        ("guestinfo.vice./execs@non-persistent", "e1e2e3e4"), ("guestinfo.vice./execs|e1e2e3e4/cmd/Path@non-persistent", "/bin/ls"),
        ("guestinfo.vice./execs|e1e2e3e4/cmd/Args~@non-persistent", "/bin/ls"),
        ("guestinfo.vice..execs|e1e2e3e4.started@non-persistent", "<nil>"), ("guestinfo.vice..execs|e1e2e3e4.status@non-persistent", "0"),
    ]
}()

/// The smallest container.
func minimalKeys(_ id: String = "c1", path: String = "/bin/true", more: [(String, String)] = []) -> KeyStore {
    KeyStore(
        [
            ("guestinfo.vice./common/id", id), ("guestinfo.vice./sessions", id), ("guestinfo.vice./sessions|\(id)/cmd/Path", path),
            ("guestinfo.vice./sessions|\(id)/cmd/Args", "0"), ("guestinfo.vice./sessions|\(id)/cmd/Args~", path),
        ] + more)
}
