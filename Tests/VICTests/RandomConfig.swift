import SessionLog
import TestSupport
import VIC

/// Configurations that VIC's keys can express, by a generator that can be repeated.
struct RandomConfig {
    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    private mutating func chance() -> Bool { Bool.random(using: &generator) }
    private mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }
    private mutating func integer() -> Int64 { chance() ? Int64.random(in: .min ... .max, using: &generator) : Int64(number(-3...3)) }
    private mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) } }
    private mutating func list<Element>(_ limit: Int, _ element: (inout RandomConfig) -> Element) -> [Element] {
        (0..<number(0...limit)).map { _ in element(&self) }
    }

    /// Anything but NUL.
    private mutating func text(pipes: Bool = true) -> String {
        let parts =
            ["", "a", "/bin/sh", " ", "\n", "=", "é", "✓", "\"", "~", "@", ".", "/", "<nil> ", "0", "true", "-c", "#"]
            + (pipes ? ["|"] : [])
        return list(4) { parts[$0.number(0...parts.count - 1)] }.joined()
    }

    /// A name in a map: printable ASCII without what separates keys, and nothing by which two of them would have the same keys.
    private mutating func names(_ limit: Int) -> [String] {
        let kinds = ["k", "net.work", "A/b", "vol_-", "~", "\"", "#", "<nil>", "%20", String(repeating: "f", count: 250), "."]
        let names = (0..<number(0...limit)).map { index in "\(kinds[number(0...kinds.count - 1)])\(index)" }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    private mutating func address() -> VICAddress { VICAddress(bytes([0, 4, 16][number(0...2)])) }

    private mutating func range() -> VICAddressRange {
        var range = VICAddressRange()
        range.ip = address()
        range.mask = address()
        return range
    }

    private mutating func diagnostics() -> VICDiagnostics {
        var diagnostics = VICDiagnostics()
        diagnostics.debug = integer()
        diagnostics.resurrections = integer()
        diagnostics.exitLogs = list(2) {
            var entry = VICExitLog()
            entry.time = Timestamp(nanoseconds: $0.chance() ? 0 : Int64.random(in: 0 ... .max, using: &$0.generator))
            entry.exitStatus = $0.integer()
            entry.message = $0.text()
            return entry
        }
        if chance() {
            var syslog = VICSyslog()
            syslog.network = text()
            syslog.address = text()
            diagnostics.syslog = syslog
        }
        return diagnostics
    }

    private mutating func sessions() -> [VICSession] {
        names(3).map { name in
            var session = VICSession()
            session.key = name
            session.id = text()
            session.name = text()
            session.executionEnvironment = text()
            session.path = text()
            session.args = list(4) { $0.text(pipes: false) }
            session.env = list(4) { $0.text(pipes: false) }
            session.directory = text()
            session.attach = chance()
            session.openStdin = chance()
            session.runBlock = chance()
            session.active = chance()
            session.tty = chance()
            session.restart = chance()
            session.stopSignal = text()
            session.user = text()
            session.group = text()
            session.diagnostics = diagnostics()
            session.createTime = integer()
            session.startTime = integer()
            session.stopTime = integer()
            session.exitStatus = integer()
            session.started = text()
            return session
        }
    }

    private mutating func network() -> VICNetwork {
        var network = VICNetwork()
        network.id = text()
        network.name = text()
        network.executionEnvironment = text()
        network.type = text()
        network.destinations = list(3) { $0.range() }
        network.gateway = range()
        network.isDefault = chance()
        network.nameservers = list(3) { $0.address() }
        network.pools = list(2) {
            var pool = VICAddressPool()
            pool.first = $0.address()
            pool.last = $0.address()
            return pool
        }
        network.trustLevel = integer()
        network.assignedGateway = range()
        network.assignedNameservers = list(2) { $0.address() }
        return network
    }

    mutating func next() -> VICExecutorConfig {
        var config = VICExecutorConfig()
        config.id = text()
        if config.id.isEmpty { config.id = "c" }
        config.executionEnvironment = text()
        config.createTime = integer()
        config.diagnostics = diagnostics()
        config.sessions = sessions()
        config.execs = sessions()
        config.mounts = names(3).map { name in
            var mount = VICMount()
            mount.key = name
            mount.source.scheme = text()
            mount.source.opaque = text()
            mount.source.host = text()
            mount.source.path = text()
            mount.source.rawPath = text()
            mount.source.forceQuery = chance()
            mount.source.rawQuery = text()
            mount.source.fragment = text()
            mount.destination = text()
            mount.mode = text()
            mount.copyMode = integer()
            return mount
        }
        config.networks = names(3).map { name in
            var endpoint = VICNetworkEndpoint()
            endpoint.key = name
            endpoint.id = text()
            endpoint.name = text()
            endpoint.executionEnvironment = text()
            endpoint.isStatic = chance()
            if chance() {
                endpoint.ip = range()
                if endpoint.ip?.ip.bytes.isEmpty == true { endpoint.ip?.ip = VICAddress(bytes(4)) }
            }
            endpoint.assigned = range()
            endpoint.network = network()
            endpoint.ports = list(3) { $0.text(pipes: false) }
            endpoint.isInternal = chance()
            return endpoint
        }
        config.hostKey = bytes(number(0...40))
        config.layerID = text()
        config.imageID = text()
        config.repository = text()
        if chance() {
            var version = VICVersion()
            version.version = text()
            version.gitCommit = text()
            version.buildDate = text()
            version.buildNumber = text()
            version.state = text()
            version.pluginVersion = integer()
            config.version = version
        }
        config.asymmetricRouting = chance()
        config.hostname = text()
        config.domainname = text()
        return config
    }
}
