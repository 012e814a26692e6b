import SessionLog
import Testing
import VIC

/// The keys as VIC's own source has them, letter by letter: reader and writer share one description of the fields, and so would share
/// a word that is misspelt in it.
@Suite("VIC's keys, one by one")
struct FixtureTests {
    private let session = "/sessions|s/"
    private let writable = ".sessions|s."
    private let network = "/networks|n/"

    private var literals: [(String, String)] {
        let common: [(String, String)] = [
            ("/common/id", "c"), ("/common/ExecutionEnvironment", "ee"), (".createtime", "7"), ("/diagnostics/debug", "2"),
            (".diagnostics.resurrections", "3"), (".diagnostics.exitlogs", "0"),
            (".diagnostics.exitlogs|0.Time", "2009-11-10 23:00:00 +0000 UTC"), (".diagnostics.exitlogs|0.ExitStatus", "42"),
            (".diagnostics.exitlogs|0.Message", "Grrr"), ("/diagnostics/syslog/RAddr", "10.0.0.9:514"),
            ("/diagnostics/syslog/Network", "tcp6"), ("/sessions", "s"), ("/key", "LS0tLS0="), ("/layerid", "l"), ("/imageid", "i"),
            ("/repo", "busybox"), ("/version/Version", "v1.5.6"), ("/version/GitCommit", "abc"), ("/version/BuildDate", "d"),
            ("/version/BuildNumber", "1"), ("/version/State", "clean"), ("/version/PluginVersion", "10"), ("/asymrouting", "true"),
            ("/hostname", "h"), ("/domainname", "d.example"),
        ]
        let ofSession: [(String, String)] = [
            (session + "common/id", "0xDEADBEEF"), (session + "common/name", "Struct"), (session + "common/ExecutionEnvironment", "e"),
            (session + "cmd/Path", "/vmware"), (session + "cmd/Args", "1"), (session + "cmd/Args~", "/bin/imagec|-standalone"),
            (session + "cmd/Env", "1"), (session + "cmd/Env~", "hello=world|goodbye="), (session + "cmd/Dir", "/srv"),
            (session + "attach", "true"), (session + "openstdin", "true"), (writable + "runblock", "true"), (session + "active", "false"),
            (session + "tty", "true"), (session + "restart", "true"), (session + "stopSignal", "SIGQUIT"), (session + "User", "u"),
            (session + "Group", "g"), (session + "diagnostics/debug", "1"), (writable + "diagnostics.resurrections", "5"),
            (writable + "detail.createtime", "1"), (writable + "detail.starttime", "2"), (writable + "detail.stoptime", "4"),
            (writable + "status", "-1"), (writable + "started", "<nil>"),
        ]
        let volume: [(String, String)] = [
            ("/mounts", "v"), ("/mounts|v/source/Scheme", "nfs"), ("/mounts|v/source/Opaque", "<nil>"),
            ("/mounts|v/source/Host", "nas.example.com"), ("/mounts|v/source/Path", "/exports/v"), ("/mounts|v/source/RawPath", "<nil>"),
            ("/mounts|v/source/ForceQuery", "false"), ("/mounts|v/source/RawQuery", "uid=0"), ("/mounts|v/source/Fragment", "<nil>"),
            ("/mounts|v/dest", "/data"), ("/mounts|v/mode", "vers=3,addr=nas.example.com"), ("/mounts|v/copymode", "1"),
        ]
        let adapter: [(String, String)] = [
            ("/networks", "n"), (network + "Common/id", "1184"), (network + "Common/name", "eth0"),
            (network + "Common/ExecutionEnvironment", "e"), (network + "static", "true"), (network + "ip/IP", "fwAAAQ=="),
            (network + "ip/Mask", "/wAAAA=="), (".networks|n.assigned.IP", "AAAAAAAAAAAAAP//CgoKCg=="),
            (".networks|n.assigned.Mask", "////AA=="), (network + "network/Common/id", "dvpg-7"),
            (network + "network/Common/name", "bridge"),
            (network + "network/Common/ExecutionEnvironment", "e"), (".networks|n.network.type", "external"),
            (network + "network/destinations", "0"), (network + "network/destinations|0/IP", "CgAAAA=="),
            (network + "network/destinations|0/Mask", "/wAAAA=="), (network + "network/gateway/IP", "rBAAAQ=="),
            (network + "network/gateway/Mask", "//8AAA=="), (network + "network/default", "true"), (network + "network/dns", "1"),
            (network + "network/dns|0", "AAAAAAAAAAAAAP//CgoKAQ=="), (network + "network/dns|1", "CAgICA=="),
            (network + "network/pools", "0"), (network + "network/pools|0/first", "rBAAAA=="),
            (network + "network/pools|0/last", "rBD//w=="),
            (network + "network/TrustLevel", "5"), (".networks|n.network.assigned.gateway.IP", "CgAAAQ=="),
            (".networks|n.network.assigned.gateway.Mask", "////AA=="), (".networks|n.network.assigned.dns", "0"),
            (".networks|n.network.assigned.dns|0", "CgAAAg=="), (network + "ports", "1"), (network + "ports~", "80/tcp|8080:80/tcp"),
            (network + "internal", "true"),
        ]
        return (common + ofSession + volume + adapter).map { ("guestinfo.vice." + $0.0, $0.1) }
    }

    private func configuration() -> VICExecutorConfig {
        var config = VICExecutorConfig()
        config.id = "c"
        config.executionEnvironment = "ee"
        config.createTime = 7
        config.diagnostics.debug = 2
        config.diagnostics.resurrections = 3
        var log = VICExitLog()
        log.time = Timestamp(nanoseconds: 1_257_894_000_000_000_000)
        log.exitStatus = 42
        log.message = "Grrr"
        config.diagnostics.exitLogs = [log]
        var syslog = VICSyslog()
        syslog.address = "10.0.0.9:514"
        syslog.network = "tcp6"
        config.diagnostics.syslog = syslog
        config.hostKey = Array("-----".utf8)
        (config.layerID, config.imageID, config.repository) = ("l", "i", "busybox")
        var version = VICVersion()
        (version.version, version.gitCommit, version.buildDate) = ("v1.5.6", "abc", "d")
        (version.buildNumber, version.state, version.pluginVersion) = ("1", "clean", 10)
        config.version = version
        config.asymmetricRouting = true
        (config.hostname, config.domainname) = ("h", "d.example")
        config.sessions = [ofSession()]
        var mount = VICMount()
        mount.key = "v"
        (mount.source.scheme, mount.source.host, mount.source.path) = ("nfs", "nas.example.com", "/exports/v")
        mount.source.rawQuery = "uid=0"
        (mount.destination, mount.mode, mount.copyMode) = ("/data", "vers=3,addr=nas.example.com", 1)
        config.mounts = [mount]
        config.networks = [adapter()]
        return config
    }

    private func ofSession() -> VICSession {
        var session = VICSession()
        session.key = "s"
        (session.id, session.name, session.executionEnvironment) = ("0xDEADBEEF", "Struct", "e")
        (session.path, session.directory) = ("/vmware", "/srv")
        session.args = ["/bin/imagec", "-standalone"]
        session.env = ["hello=world", "goodbye="]
        (session.attach, session.openStdin, session.runBlock, session.active) = (true, true, true, false)
        (session.tty, session.restart, session.stopSignal) = (true, true, "SIGQUIT")
        (session.user, session.group) = ("u", "g")
        session.diagnostics.debug = 1
        session.diagnostics.resurrections = 5
        (session.createTime, session.startTime, session.stopTime, session.exitStatus) = (1, 2, 4, -1)
        return session
    }

    private func adapter() -> VICNetworkEndpoint {
        func range(_ ip: [UInt8], _ mask: [UInt8]) -> VICAddressRange {
            var range = VICAddressRange()
            range.ip = VICAddress(ip)
            range.mask = VICAddress(mask)
            return range
        }
        func mapped(_ ip: [UInt8]) -> [UInt8] { [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF] + ip }
        var adapter = VICNetworkEndpoint()
        adapter.key = "n"
        (adapter.id, adapter.name, adapter.executionEnvironment, adapter.isStatic) = ("1184", "eth0", "e", true)
        adapter.ip = range([127, 0, 0, 1], [255, 0, 0, 0])
        adapter.assigned = range(mapped([10, 10, 10, 10]), [255, 255, 255, 0])
        (adapter.network.id, adapter.network.name, adapter.network.executionEnvironment) = ("dvpg-7", "bridge", "e")
        adapter.network.type = "external"
        adapter.network.destinations = [range([10, 0, 0, 0], [255, 0, 0, 0])]
        adapter.network.gateway = range([172, 16, 0, 1], [255, 255, 0, 0])
        adapter.network.isDefault = true
        adapter.network.nameservers = [VICAddress(mapped([10, 10, 10, 1])), VICAddress([8, 8, 8, 8])]
        var pool = VICAddressPool()
        pool.first = VICAddress([172, 16, 0, 0])
        pool.last = VICAddress([172, 16, 255, 255])
        adapter.network.pools = [pool]
        adapter.network.trustLevel = 5
        adapter.network.assignedGateway = range([10, 0, 0, 1], [255, 255, 255, 0])
        adapter.network.assignedNameservers = [VICAddress([10, 0, 0, 2])]
        adapter.ports = ["80/tcp", "8080:80/tcp"]
        adapter.isInternal = true
        return adapter
    }

    @Test("each key is read as VIC writes it") func read() throws {
        let reading = try #require(try KeyStore(literals).read(.all))
        #expect(reading.warnings.isEmpty && reading.config == configuration())
    }

    @Test("each key is written as VIC writes it, and no other") func written() throws {
        let keys = try configuration().keyValues()
        let expected = Dictionary(uniqueKeysWithValues: literals)
        // The session's diagnostics have a debug level of their own; nothing else is there that the list does not have.
        #expect(Set(keys.map { $0.key }) == Set(expected.keys))
        for pair in keys { #expect(expected[pair.key] == pair.value, "\(pair.key)") }
    }
}
