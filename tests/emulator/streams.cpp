// Streams, events, captures and graphs of the stand-in for the driver. Streams take turns: whatever
// is enqueued first is done first, on whichever stream, so that nothing here shows that two streams
// lack an order between them.

#include "driver.hpp"

#include <atomic>
#include <chrono>
#include <mutex>

using namespace driver;

namespace {

using Nodes = std::shared_ptr<const std::vector<Work>>;

// What a stream records instead of doing it.
struct Capture {
    cuda::CaptureMode mode;
    std::thread::id thread;
    bool valid;
    std::vector<Work> nodes;
};

// Guards the captures of all streams.
std::mutex capturing;

}

struct driver::Stream {
    std::unique_ptr<Capture> capture;
    // The number of its last work.
    std::atomic<uint64_t> last{0};
};

namespace {

// All streams that capture.
std::vector<Stream*>& captures() {
    static auto* all = new std::vector<Stream*>;
    return *all;
}

// When the device came to a record of an event.
struct Moment {
    std::atomic<bool> taken{false};
    std::chrono::steady_clock::time_point time;

    Result take() {
        time = std::chrono::steady_clock::now();
        taken = true;
        return cuda::SUCCESS;
    }
};

struct Event {
    explicit Event(bool can_be_timed) : timed(can_be_timed) {}

    bool timed;
    bool recorded = false;
    // Of its last record outside a graph; 0 before.
    uint64_t number = 0;
    std::shared_ptr<Moment> moment = std::make_shared<Moment>();
};

struct Graph {
    Nodes nodes;
};

bool is_stream(const Stream* stream) {
    return is_there(STREAM, stream);
}

}

bool driver::invalidate_captures() {
    const std::lock_guard lock(capturing);
    bool any = false;
    for (Stream* stream : captures()) {
        Capture& capture = *stream->capture;
        const bool own = capture.thread == std::this_thread::get_id();
        if (capture.mode == cuda::GLOBAL || (capture.mode == cuda::THREAD_LOCAL && own)) {
            capture.valid = false;
            any = true;
        }
    }
    return any;
}

Result driver::submit(Stream* stream, Work work) {
    if (!is_stream(stream)) {
        return cuda::INVALID_HANDLE;
    }
    const std::lock_guard lock(capturing);
    if (stream->capture == nullptr) {
        stream->last = enqueue(std::move(work));
        return cuda::SUCCESS;
    }
    if (!stream->capture->valid) {
        return cuda::STREAM_CAPTURE_INVALIDATED;
    }
    stream->capture->nodes.push_back(std::move(work));
    return cuda::SUCCESS;
}

extern "C" {

Result cuStreamCreate(Stream** stream, unsigned flags) {
    ENTER(CONTEXT)
    if (flags != cuda::STREAM_NON_BLOCKING) {
        return cuda::NOT_SUPPORTED;
    }
    *stream = new Stream;
    made(STREAM, *stream);
    return cuda::SUCCESS;
}

Result cuStreamDestroy_v2(Stream* stream) {
    ENTER(CONTEXT)
    if (!gone(STREAM, stream)) {
        return cuda::INVALID_HANDLE;
    }
    delete stream;
    return cuda::SUCCESS;
}

Result cuStreamSynchronize(Stream* stream) {
    ENTER(CONTEXT)
    if (!is_stream(stream)) {
        return cuda::INVALID_HANDLE;
    }
    {
        const std::lock_guard lock(capturing);
        if (stream->capture != nullptr) {
            stream->capture->valid = false;
            return cuda::STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    return wait_for(stream->last);
}

Result cuStreamBeginCapture_v2(Stream* stream, cuda::CaptureMode mode) {
    ENTER(CONTEXT)
    if (!is_stream(stream)) {
        return cuda::INVALID_HANDLE;
    }
    const std::lock_guard lock(capturing);
    if (stream->capture != nullptr) {
        return cuda::ILLEGAL_STATE;
    }
    stream->capture.reset(new Capture{mode, std::this_thread::get_id(), true, {}});
    captures().push_back(stream);
    return cuda::SUCCESS;
}

Result cuStreamEndCapture(Stream* stream, Graph** graph) {
    ENTER(CONTEXT)
    *graph = nullptr;
    if (!is_stream(stream)) {
        return cuda::INVALID_HANDLE;
    }
    const std::lock_guard lock(capturing);
    if (stream->capture == nullptr) {
        return cuda::ILLEGAL_STATE;
    }
    const bool other_thread = stream->capture->thread != std::this_thread::get_id();
    if (other_thread && stream->capture->mode != cuda::RELAXED) {
        return cuda::STREAM_CAPTURE_WRONG_THREAD;
    }
    const std::unique_ptr<Capture> capture = std::move(stream->capture);
    auto& all = captures();
    for (auto one = all.begin(); one != all.end(); ++one) {
        if (*one == stream) {
            all.erase(one);
            break;
        }
    }
    if (!capture->valid) {
        return cuda::STREAM_CAPTURE_INVALIDATED;
    }
    *graph = new Graph{std::make_shared<const std::vector<Work>>(std::move(capture->nodes))};
    made(GRAPH, *graph);
    return cuda::SUCCESS;
}

Result cuStreamIsCapturing(Stream* stream, cuda::CaptureStatus* status) {
    ENTER(CONTEXT)
    if (!is_stream(stream)) {
        return cuda::INVALID_HANDLE;
    }
    const std::lock_guard lock(capturing);
    const Capture* capture = stream->capture.get();
    *status = capture == nullptr ? cuda::NOT_CAPTURING
        : capture->valid         ? cuda::CAPTURING
                                 : cuda::INVALIDATED;
    return cuda::SUCCESS;
}

Result cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long long flags) {
    ENTER(NO_CAPTURE)
    if (!is_there(GRAPH, graph)) {
        return cuda::INVALID_HANDLE;
    }
    if (flags != 0) {
        return cuda::NOT_SUPPORTED;
    }
    *executable = new Graph{graph->nodes};
    made(EXECUTABLE, *executable);
    return cuda::SUCCESS;
}

Result cuGraphUpload(Graph* executable, Stream* stream) {
    ENTER(NO_CAPTURE)
    const bool known = is_there(EXECUTABLE, executable) && is_stream(stream);
    return known ? cuda::SUCCESS : cuda::INVALID_HANDLE;
}

Result cuGraphLaunch(Graph* executable, Stream* stream) {
    ENTER(CONTEXT)
    if (!is_there(EXECUTABLE, executable)) {
        return cuda::INVALID_HANDLE;
    }
    return submit(stream, [nodes = executable->nodes] {
        for (const Work& node : *nodes) {
            if (const Result failed = node()) {
                return failed;
            }
        }
        return cuda::SUCCESS;
    });
}

// What is on its way keeps the nodes.
Result cuGraphExecDestroy(Graph* executable) {
    ENTER(CONTEXT)
    if (!gone(EXECUTABLE, executable)) {
        return cuda::INVALID_HANDLE;
    }
    delete executable;
    return cuda::SUCCESS;
}

Result cuGraphDestroy(Graph* graph) {
    ENTER(CONTEXT)
    if (!gone(GRAPH, graph)) {
        return cuda::INVALID_HANDLE;
    }
    delete graph;
    return cuda::SUCCESS;
}

Result cuEventCreate(Event** event, unsigned flags) {
    ENTER(CONTEXT)
    *event = new Event((flags & cuda::EVENT_DISABLE_TIMING) == 0);
    made(EVENT, *event);
    return cuda::SUCCESS;
}

Result cuEventDestroy_v2(Event* event) {
    ENTER(CONTEXT)
    if (!gone(EVENT, event)) {
        return cuda::INVALID_HANDLE;
    }
    delete event;
    return cuda::SUCCESS;
}

// The nodes of a graph are no events for this call.
Result cuEventRecord(Event* event, Stream* stream) {
    ENTER(CONTEXT)
    if (!is_there(EVENT, event) || !is_stream(stream)) {
        return cuda::INVALID_HANDLE;
    }
    {
        const std::lock_guard lock(capturing);
        if (stream->capture != nullptr) {
            return cuda::NOT_SUPPORTED;
        }
    }
    event->recorded = true;
    event->moment = std::make_shared<Moment>();
    const Result result = submit(stream, [moment = event->moment] { return moment->take(); });
    event->number = stream->last;
    return result;
}

// Only the node of a graph that records an event whenever the graph comes to it.
Result cuEventRecordWithFlags(Event* event, Stream* stream, unsigned flags) {
    ENTER(CONTEXT)
    if (!is_there(EVENT, event) || !is_stream(stream)) {
        return cuda::INVALID_HANDLE;
    }
    if (flags != cuda::EVENT_RECORD_EXTERNAL) {
        return cuda::NOT_SUPPORTED;
    }
    {
        const std::lock_guard lock(capturing);
        if (stream->capture == nullptr) {
            return cuda::INVALID_VALUE;
        }
    }
    event->recorded = true;
    return submit(stream, [moment = event->moment] { return moment->take(); });
}

Result cuEventQuery(Event* event) {
    ENTER(CONTEXT)
    if (!is_there(EVENT, event)) {
        return cuda::INVALID_HANDLE;
    }
    return is_done(event->number) ? cuda::SUCCESS : cuda::NOT_READY;
}

Result cuEventSynchronize(Event* event) {
    ENTER(NO_CAPTURE)
    return is_there(EVENT, event) ? wait_for(event->number) : cuda::INVALID_HANDLE;
}

Result cuEventElapsedTime_v2(float* milliseconds, Event* start, Event* end) {
    ENTER(CONTEXT)
    const auto usable = [](Event* event) {
        return is_there(EVENT, event) && event->timed && event->recorded;
    };
    if (!usable(start) || !usable(end)) {
        return cuda::INVALID_HANDLE;
    }
    if (!start->moment->taken || !end->moment->taken) {
        return cuda::NOT_READY;
    }
    const auto elapsed = end->moment->time - start->moment->time;
    *milliseconds = std::chrono::duration<float, std::milli>(elapsed).count();
    return cuda::SUCCESS;
}

}
