use fence_compiler::policy::RuleId;

use super::*;

#[test]
fn refusals_are_read_from_the_log_and_lead_back_to_their_rule() {
    let run = "0123456789abcdef";
    for (message, program, pid, operation, target, by) in [
        (
            "Sandbox: cat(7) deny(1) file-read-data /w/a b\nfence:0123456789abcdef:3",
            "cat",
            7,
            "file-read-data",
            "/w/a b",
            Tagged::Rule(RuleId(3)),
        ),
        (
            "Sandbox: my tool (x)(8) deny(1) network-outbound 1.2.3.4:443\nfence:0123456789abcdef:default",
            "my tool (x)",
            8,
            "network-outbound",
            "1.2.3.4:443",
            Tagged::Nothing,
        ),
        (
            "2 duplicate reports for Sandbox: sh(9) deny(1) file-write-unlink /w/.git\nfence:0123456789abcdef:way",
            "sh",
            9,
            "file-write-unlink",
            "/w/.git",
            Tagged::Way,
        ),
        (
            "Sandbox: a(1) deny(1) process-fork\nfence:0123456789abcdef:own",
            "a",
            1,
            "process-fork",
            "",
            Tagged::Own,
        ),
        (
            "Sandbox: a(1) deny(1) file-read-data /x\nSandbox: b(2) deny(1) mach-lookup y\nfence:0123456789abcdef:port",
            "a",
            1,
            "file-read-data",
            "/x\nSandbox: b(2) deny(1) mach-lookup y",
            Tagged::Port,
        ),
    ] {
        let expected =
            Denial { program: program.into(), pid, operation: operation.into(), target: target.into(), by };
        assert_eq!(denial(message, run), Some(expected), "{message}");
    }
    for other in [
        "Sandbox: cat(7) deny(1) file-read-data /x",
        "Sandbox: cat(7) deny(1) file-read-data /x\nfence:ffffffffffffffff:3",
        "Sandbox: cat(7) deny(1) file-read-data /x\nfence:0123456789abcdef:x",
        "cat: deny\nfence:0123456789abcdef:3",
        "",
    ] {
        assert_eq!(denial(other, run), None, "{other}");
    }
}
