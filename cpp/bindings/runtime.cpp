// Instruction sets, threads and signals, for Python.
#include "bindings/arrays.h"
#include "bindings/module.h"
#include "runtime/interrupt.h"
#include "runtime/isa.h"
#include "runtime/pool.h"
#include "runtime/quota.h"
#include "runtime/system.h"
#include "runtime/thread_count.h"

#include <atomic>
#include <chrono>
#include <new>
#include <thread>

namespace embedrnn::bindings {
namespace {

#ifdef NDEBUG
constexpr bool kAsserts = false;
#else
constexpr bool kAsserts = true;
#endif

// Runs the signal handlers of Python if any is due; true if one raised, as that of Ctrl-C does.
// Other threads do not take the GIL for it: if the interpreter exits, they would never get it back.
bool signal_raised() {
  if (!runtime::on_main_thread()) return false;
  const py::gil_scoped_acquire acquire;
  return PyErr_CheckSignals() != 0;
}

// Adds an elementwise function of contiguous arrays; the tests measure its error.
template <class F>
void define_elementwise(py::module_& module, const char* name, const F& select) {
  module.def(
      name,
      [select](py::array x, py::array out) {
        const py::ssize_t n = x.size();
        const auto run = [&]<class T>(const kernels::RecurrentKernels<T>& kernels) {
          select(kernels)(
              contiguous_data<const T>(x, "x", {n}), n, contiguous_data<T>(out, "out", {n}));
        };
        const kernels::Registry& registry = runtime::registry();
        holds<double>(x) ? run(registry.f64) : run(registry.f32);
      },
      py::arg("x"),
      py::arg("out"));
}

// A call in which every worker of the pool fails, as for want of memory, while the calling thread
// is at work; the tests see what comes of it. Returns, which it should not, if no worker has come
// within so many seconds.
void fail_in_workers(int seconds) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + std::chrono::seconds(seconds);
  std::atomic<bool> failed{false};
  without_gil([&] {
    runtime::parallel_for(runtime::num_threads(), [&](std::int64_t) {
      if (runtime::Helping::now()) {
        failed.store(true);
        throw std::bad_alloc();
      }
      while (!failed.load() && Clock::now() < end) {
        runtime::checkpoint();
        std::this_thread::yield();
      }
    });
    return true;
  });
}

}  // namespace

void register_runtime(py::module_& module) {
  runtime::set_interrupt_poll(&signal_raised);
  runtime::set_isa_from_environment();
  module.attr("asserts") = kAsserts;
  module.def("isas", &runtime::isas);
  module.def("get_isa", [] { return runtime::registry().isa; });
  module.def("set_isa", &runtime::set_isa, py::arg("name"));
  module.def("get_num_threads", &runtime::num_threads);
  module.def("set_num_threads", &runtime::set_num_threads, py::arg("n"));
  module.def("quota_cpus", &runtime::quota_cpus, py::arg("root"));
  module.def("fail_in_workers", &fail_in_workers, py::arg("seconds"));
  define_elementwise(module, "exp", [](const auto& kernels) { return kernels.exp; });
  define_elementwise(module, "sigmoid", [](const auto& kernels) { return kernels.sigmoid; });
  define_elementwise(module, "tanh", [](const auto& kernels) { return kernels.tanh; });
}

}  // namespace embedrnn::bindings
