import ContainerSpec
import Linux

/// What became of a ``WantedInterface``.
public struct InterfaceReport: Equatable, Sendable {
    public enum Outcome: Equatable, Sendable {
        /// There is no such adapter.
        case missing
        /// It is switched on, has its addresses, and the rest takes a while.
        case begun
        /// It is as it was wanted, except for what is `refused`.
        case done
        /// Something of it is not.
        case failed(NetworkError)
    }

    public var id: String
    public var outcome: Outcome
    /// As it was found, with the name that it has now; nil where it is missing.
    public var link: Link?
    /// Which of the addresses are there.
    public var addressesSet: [Int] = []
    /// Which of the routes are there, as ``WantedInterface/orderedRoutes`` has them.
    public var routesSet: [Int] = []
    /// What the kernel does not take of a lease, for warnings.
    public var refused: [String] = []

    public init(id: String, outcome: Outcome, link: Link? = nil) {
        self.id = id
        self.outcome = outcome
        self.link = link
    }

    /// Everything of `wanted` is there.
    init(done wanted: WantedInterface, link: Link) {
        self.init(id: wanted.id, outcome: .done, link: link)
        addressesSet = Array(wanted.addresses.indices)
        routesSet = Array(wanted.routes.indices)
    }

    /// What of `wanted` is there.
    func parts(of wanted: WantedInterface) -> InterfaceParts {
        func chosen<Part>(_ parts: [Part], _ positions: [Int]) -> [Part] {
            positions.compactMap { parts.indices.contains($0) ? parts[$0] : nil }
        }
        return InterfaceParts(addresses: chosen(wanted.addresses, addressesSet), routes: chosen(wanted.orderedRoutes, routesSet))
    }

    /// As a worker sends it.
    public var encoded: [UInt8] {
        var fields = FieldEncoder()
        fields.append(id)
        fields.append(link != nil)
        if let link {
            fields.append(Int64(link.index))
            fields.append(link.name)
            fields.append(link.macAddress)
            fields.append(Int64(link.mtu))
            fields.append(link.isUp)
        }
        switch outcome {
        case .missing: fields.append(Int64(0))
        case .begun: fields.append(Int64(1))
        case .done: fields.append(Int64(2))
        case .failed(let error):
            fields.append(Int64(3))
            fields.append(error.operation)
            fields.append(error.object)
            fields.append(error.cause)
        }
        for positions in [addressesSet, routesSet] {
            fields.append(Int64(positions.count))
            for position in positions { fields.append(Int64(position)) }
        }
        fields.append(Int64(refused.count))
        for text in refused { fields.append(text) }
        return fields.bytes
    }

    /// - Returns: nil for what ``encoded`` has not made.
    public init?(_ bytes: [UInt8]) {
        var fields = FieldDecoder(bytes)
        guard let id = fields.text(), let hasLink = fields.flag() else { return nil }
        self.id = id
        if hasLink {
            guard let index = fields.number().flatMap({ UInt32(exactly: $0) }), let name = fields.text(), let address = fields.field(),
                let mtu = fields.number().flatMap({ UInt32(exactly: $0) }), let isUp = fields.flag()
            else { return nil }
            var link = Link(index: index, name: name)
            link.macAddress = address
            link.mtu = mtu
            link.isUp = isUp
            self.link = link
        }
        switch fields.number() {
        case 0: outcome = .missing
        case 1: outcome = .begun
        case 2: outcome = .done
        case 3:
            guard let operation = fields.text(), let object = fields.text(), let cause = fields.text() else { return nil }
            outcome = .failed(NetworkError(operation, object, cause))
        default: return nil
        }
        func list<Element>(_ next: (inout FieldDecoder) -> Element?) -> [Element]? {
            guard let count = fields.number(), count >= 0 else { return nil }
            var elements: [Element] = []
            // A count that is a lie ends with the message.
            for _ in 0..<count {
                guard let element = next(&fields) else { return nil }
                elements.append(element)
            }
            return elements
        }
        let position = { (fields: inout FieldDecoder) in fields.number().flatMap { Int(exactly: $0) } }
        guard let addressesSet = list(position), let routesSet = list(position), let refused = list({ $0.text() }), fields.isAtEnd
        else { return nil }
        self.addressesSet = addressesSet
        self.routesSet = routesSet
        self.refused = refused
    }
}
