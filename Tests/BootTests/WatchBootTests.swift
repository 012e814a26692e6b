import Control
import ControlClient
import Foundation
import Testing

/// What a container takes that the kernel counts for each user: its root is the user that PID 1 is.
@Suite("Boot: what belongs to a user", .serialized) struct WatchBootTests {
    /// Watches more with epoll(7) than Linux by default grants a user in a machine of this size.
    private static let program = """
        #include <stdio.h>
        #include <sys/epoll.h>
        #include <sys/eventfd.h>
        #include <unistd.h>
        int main(void) {
            enum { FILES = 600, SETS = 400 };
            int files[FILES], made = 0;
            for (int i = 0; i < FILES; i++) if ((files[i] = eventfd(0, 0)) < 0) perror("eventfd");
            for (int s = 0; s < SETS; s++) {
                int set = epoll_create1(0);
                if (set < 0) { perror("epoll_create1"); break; }
                for (int i = 0; i < FILES; i++) {
                    struct epoll_event event = { .events = EPOLLIN };
                    if (epoll_ctl(set, EPOLL_CTL_ADD, files[i], &event) == 0) made++;
                    else { perror("epoll_ctl"); break; }
                }
            }
            printf("watches %d\\n", made);
            fflush(stdout);
            for (;;) pause();
        }
        """

    @Test("a container whose root watches as much as it can leaves PID 1 what it needs")
    func watches() throws {
        let scratch = try Scratch()
        let root = scratch.file("root")
        let source = try scratch.write("watch.c", Data(Self.program.utf8))
        let image = scratch.file("image.vmdk")
        for command in [
            ["cp", "-a", try Build.path("busybox-root"), root], ["gcc", "-static", "-O1", "-o", root + "/bin/watch-all", source],
            [try Build.path("tetherctl"), "image", "--from", root, "--label", "containerfs", "--output", image],
        ] {
            let made = try run(command)
            try #require(made.status == 0, "\(made.errorText)")
        }
        let vm = try LiveVM(image: image, ["/bin/watch-all"]) { _, process in
            process["rlimits"] = [["type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024]]
        }
        let session = try vm.client.attach(AttachRequest(stdout: .oldest, stderr: .oldest))
        try session.wait(for: "watches ", timeout: 120)
        #expect(try vm.shell("echo still here; exit 4").out == "still here\n")
        let ended = try vm.stop(timeoutMilliseconds: 1000)
        #expect(ended.out == "watches 240000\n", "\(ended.out)\(ended.err)")
        #expect(ended.code == 143 && ended.err.isEmpty, "\(ended.console.suffix(2000))")
    }
}
