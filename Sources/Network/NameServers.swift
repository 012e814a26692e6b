import ContainerSpec

/// What names are looked up with: of the configuration, and of the leases.
extension NetworkState {
    /// The name servers of all adapters, each once, in the order of the configuration.
    public var nameservers: [IPAddress] {
        unique(interfaces.map { $0.settings.nameservers } + interfaces.map { $0.lease?.nameservers ?? [] })
    }

    public var searchDomains: [String] {
        unique(interfaces.map { $0.settings.searchDomains } + interfaces.map { $0.lease?.searchDomains ?? [] })
    }

    private func unique<Element: Equatable>(_ lists: [[Element]]) -> [Element] {
        var result: [Element] = []
        for list in lists { for element in list where !result.contains(element) { result.append(element) } }
        return result
    }

    /// Whether there are name servers, or a lease may bring some.
    public var mayHaveNameservers: Bool {
        interfaces.contains { $0.settings.usesDHCP || !$0.settings.nameservers.isEmpty }
    }

    /// /etc/resolv.conf (resolv.conf(5)); nil where there is no name server to put into it.
    public var resolverFile: String? {
        if nameservers.isEmpty { return nil }
        var text = ""
        let domains = searchDomains
        if !domains.isEmpty { text += domains.reduce("search") { $0 + " " + $1 } + "\n" }
        for server in nameservers { text += "nameserver \(server.text)\n" }
        return text
    }
}
