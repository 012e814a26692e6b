import ContainerSpec
import Linux
import Network
import VIC

/// Tells VIC's portlayer what addresses the container has, and puts them into the container's files.
final class VICNetworkReporter {
    private let endpoints: [VICEndpoint]
    private let reporter: VICReporter
    private let diagnostics: Diagnostics
    private var files: VICFiles
    private var leases: [VICLease] = []
    /// What was written last of each endpoint.
    private var written: [String: [VICKeyValue]] = [:]

    init(_ plan: VICPlan, _ reporter: VICReporter, _ diagnostics: Diagnostics) {
        endpoints = plan.endpoints
        files = plan.files
        self.reporter = reporter
        self.diagnostics = diagnostics
    }

    /// What the adapters have may have changed.
    func update(_ state: NetworkState) {
        let ready = state.interfaces.filter { $0.isPresent }
        let leases = ready.compactMap { interface in
            interface.lease.map { lease in
                VICLease(
                    interface: interface.settings.id, address: lease.address,
                    gateway: lease.routes.first { $0.destination == nil }?.gateway, nameservers: lease.nameservers,
                    searchDomains: lease.searchDomains)
            }
        }
        for endpoint in endpoints where endpoint.addressing != .external {
            let isReady = ready.contains { $0.settings.id == endpoint.interface }
            // What has never been there needs no word that it is gone.
            if !isReady && written[endpoint.network] == nil { continue }
            let keys = endpoint.keyValues(isReady ? endpoint.assignment(leases) : nil)
            if written[endpoint.network] == keys { continue }
            written[endpoint.network] = keys
            reporter.write(keys)
        }
        if leases == self.leases { return }
        self.leases = leases
        let files = files.with(leases)
        for (new, old) in zip(files.all, self.files.all) where new.content != old.content {
            do throws(SyscallError) { try Files.overwrite("\(VICDialect.files)/\(new.name)", with: Array(new.content.utf8)) } catch {
                diagnostics.warning(error.description)
            }
        }
        self.files = files
    }
}
