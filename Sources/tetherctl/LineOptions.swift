import ArgumentParser
import LineEndpoint

/// Where a VM's serial line is: what all commands that use one take.
struct LineOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "A unix socket, a terminal, tcp://host:port, telnet://host:port, or with --vm the socket of \"tetherctl serve\".",
            valueName: "endpoint"))
    var endpoint: String
    @Option(
        name: .customLong("vm"),
        help: ArgumentHelp("Of a concentrator's lines, that of this VM: name, UUID, URI or address.", valueName: "name"))
    var machine: String?

    func parse() throws(EndpointError) -> Endpoint { try Endpoint(endpoint, machine: machine) }
}
