import ContainerSpec
import Linux
import Network
import VIC

/// Tells VIC's portlayer what addresses the container has, and puts them into the container's files.
final class VICNetworkReporter {
    private let endpoints: [VICEndpoint]
    private let reporter: VICReporter
    private let diagnostics: Diagnostics
    private let files: VICFiles
    private var leases: [VICLease] = []
    /// Those that a lease changes. Open before the container is there, and so before somebody else can have them open.
    private var hosts: SharedFile?
    private var resolver: SharedFile?
    /// What was written last of each endpoint.
    private var written: [String: [VICKeyValue]] = [:]

    init(_ plan: VICPlan, _ reporter: VICReporter, _ diagnostics: Diagnostics) {
        endpoints = plan.endpoints
        files = plan.files
        self.reporter = reporter
        self.diagnostics = diagnostics
        do throws(SyscallError) {
            hosts = try SharedFile("\(VICDialect.files)/hosts", content: plan.files.hosts)
            resolver = try SharedFile("\(VICDialect.files)/resolv.conf", content: plan.files.resolver)
        } catch {
            diagnostics.warning(error.description)
        }
    }

    /// What the adapters have may have changed.
    func update(_ state: NetworkState) {
        let leases = state.interfaces.compactMap { interface -> VICLease? in
            guard let lease = interface.lease, interface.settledAddresses.contains(lease.address) else { return nil }
            return VICLease(
                interface: interface.settings.id, address: lease.address,
                gateway: lease.routes.first { $0.destination == nil }?.gateway, nameservers: lease.nameservers,
                searchDomains: lease.searchDomains)
        }
        for endpoint in endpoints where endpoint.addressing != .external {
            let interface = state.interfaces.first { $0.settings.id == endpoint.interface }
            let assignment = endpoint.assignment(leases, on: interface?.settledAddresses ?? [])
            // What has never been there needs no word that it is gone.
            if assignment == nil && written[endpoint.network] == nil { continue }
            let keys = endpoint.keyValues(assignment)
            if written[endpoint.network] == keys { continue }
            written[endpoint.network] = keys
            reporter.write(keys, of: endpoint.network)
        }
        if leases == self.leases { return }
        self.leases = leases
        let files = files.with(leases)
        do throws(SyscallError) { try hosts?.update(to: files.hosts) } catch { diagnostics.warning(error.description) }
        do throws(SyscallError) { try resolver?.update(to: files.resolver) } catch { diagnostics.warning(error.description) }
    }
}
