import ContainerSpec
import GuestInfo
import Linux
import SessionLog
import VIC

/// A VM that VIC's portlayer configured: reads its keys, and prepares what VIC's containers find.
final class VICDialect {
    /// Where the files of /etc are that the container gets in the place of the image's.
    static let files = "/run/tether/etc"

    private let host: Host
    private let diagnostics: Diagnostics
    private let status: StatusReporter
    /// What the keys said last.
    private(set) var plan: VICPlan?
    /// How many keys that took.
    private(set) var fetched = 0
    private var isPrepared = false
    private var warned: [SpecIssue] = []
    /// What is known of the sessions beside the container's own.
    var known: (String) -> VICKnowledge = { _ in .none }

    private init(_ host: Host, _ diagnostics: Diagnostics, _ status: StatusReporter) {
        self.host = host
        self.diagnostics = diagnostics
        self.status = status
    }

    /// Looks for VIC's keys.
    /// - Returns: nil where there are none.
    static func find(_ host: Host, _ diagnostics: Diagnostics, _ status: StatusReporter) throws(Failure) -> VICDialect? {
        let id: [UInt8]?
        do throws(GuestInfoError) { id = try host.exact(VICKey.containerID.name) } catch {
            throw Failure(error.operation, error.object, error.cause.description)
        }
        guard let id else { return nil }
        let dialect = VICDialect(host, diagnostics, status)
        // Before anything is understood: whoever waits for this container has to be told why it was not.
        dialect.report(on: String(decoding: id, as: UTF8.self))
        return dialect
    }

    private func report(on session: String) {
        if status.vic?.session == session { return }
        status.vic = VICReporter(VICResults(id: session, isExec: false), host: host, diagnostics: diagnostics)
    }

    /// Reads the keys, at first and when they have changed.
    func read() throws(Failure) -> ContainerSpec {
        let reading = try host.overOneChannel { () throws(Failure) in try self.fetch() }
        guard let reading else { throw Failure("read", VICKey.containerID.name, "the host has no configuration for this VM") }
        let plan: VICPlan
        do throws(SpecError) { plan = try reading.config.plan(known: known) } catch { throw VICDialect.malformed(error) }
        fetched = reading.fetched
        for warning in reading.warnings + plan.warnings where !warned.contains(warning) {
            diagnostics.warning("configuration: \(warning.description)")
        }
        warned = reading.warnings + plan.warnings
        if self.plan == nil {
            report(on: plan.primary.key)
            status.vic?.created = plan.primary.createTime
            status.vic?.directory = plan.spec.process.cwd
            if !plan.primary.active {
                throw Failure("start", plan.primary.key, "the configuration has the container's own session not active")
            }
        }
        // Of sessions that run most keys are not read again: what was not honoured of them still is not.
        status.notHonoured += plan.notHonoured.filter { !status.notHonoured.contains($0) }
        self.plan = plan
        var spec = plan.spec
        for file in plan.files.all {
            spec.mounts.append(
                ContainerMount(
                    destination: "/etc/" + file.name, type: nil, source: "\(VICDialect.files)/\(file.name)",
                    options: ["bind", "nosuid", "nodev"]))
        }
        return spec
    }

    private func fetch() throws(Failure) -> VICReading? {
        let host = host
        do throws(SpecError) {
            return try VICExecutorConfig.read(.needed, known: known) { (key) throws(VICSourceError) in
                do throws(GuestInfoError) { return try host.exact(key) } catch { throw VICSourceError(error.cause.description) }
            }
        } catch {
            throw VICDialect.malformed(error)
        }
    }

    private static func malformed(_ error: SpecError) -> Failure { Failure("decode", "VIC's keys", error.description) }

    /// Sets the VM up as VIC did: its kernel parameters, and the files of /etc.
    func prepare() throws(Failure) {
        guard let plan, !isPrepared else { return }
        isPrepared = true
        // Elasticsearch, for one, does not start below it; and a guest that gets an address tells its neighbours.
        for (name, value) in [
            ("vm/max_map_count", "262144"), ("net/ipv4/conf/all/arp_notify", "1"), ("net/ipv4/conf/default/arp_notify", "1"),
        ] {
            do throws(SyscallError) { try Files.write(value, to: "/proc/sys/" + name) } catch { diagnostics.warning(error.description) }
        }
        do throws(SyscallError) {
            try ContainerFiles.make(VICDialect.files, size: "1m")
            for file in plan.files.all {
                try Files.replace("\(VICDialect.files)/\(file.name)", with: Array(file.content.utf8), mode: 0o644)
            }
        } catch {
            throw Failure(error)
        }
    }
}
