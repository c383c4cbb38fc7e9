"""Write the page of environment variables that anima-exp reads or passes on."""

from collections.abc import Iterator

from anima_exp.reference import markdown

# By group: the variable, and what it does.
VARIABLES = {
    "Folders": {
        "ANIMA_EXP_CACHE": "The cache folder. `cache_dir` wins over it.",
        "XDG_CACHE_HOME": "The cache is in `anima_exp` below it, unless `ANIMA_EXP_CACHE` is set.",
        "HF_HOME": "Read by huggingface_hub: where models and data sets are downloaded to.",
        "HF_HUB_CACHE": "Read by huggingface_hub: the folder of downloads inside `HF_HOME`.",
        "HF_DATASETS_CACHE": "Read by datasets: where data sets are prepared.",
    },
    "Keys and hubs": {
        "HF_TOKEN": "Token of the Hugging Face hub. `hf auth login` is the alternative.",
        "HF_HUB_OFFLINE": "1 uses no network for models and data sets.",
        "HF_HUB_ETAG_TIMEOUT": "Seconds to wait for the hub.",
        "OPENAI_API_KEY": "Key of the judge's server. `api_key_env` may name another variable.",
        "OPENAI_BASE_URL": "Address of the judge's server. `base_url` wins over it.",
    },
    "Trackers": {
        "WANDB_API_KEY": "Key of Weights & Biases. `wandb login` is the alternative.",
        "WANDB_IDENTITY_TOKEN_FILE": "The same by an identity token.",
        "WANDB_MODE": "`offline` or `disabled` for Weights & Biases.",
        "WANDB_BASE_URL": "A server of your own.",
        "WANDB_CONFIG_DIR": "Where Weights & Biases keeps its settings.",
        "WANDB_DIR": "Where Weights & Biases looks for settings of a project.",
        "NETRC": "The file of logins, in place of `~/.netrc`.",
        "MLFLOW_TRACKING_URI": "Server of MLflow. `tracking.mlflow_uri` wins over it.",
        "TRACKIO_SPACE_ID": "Space of trackio. `tracking.trackio_space` wins over it.",
        "TRACKIO_SERVER_URL": "Server of trackio, if no space is given.",
    },
    "Processor and GPU": {
        "OMP_NUM_THREADS": "Threads of each process. Set it to stop jobs from dividing the cores.",
        "MKL_NUM_THREADS": "The same for MKL.",
        "TOKENIZERS_PARALLELISM": "Threads of tokenizers. Off where several processes tokenize.",
        "CUDA_VISIBLE_DEVICES": "GPUs that may be used. Empty or -1 means none.",
        "CUDA_DEVICE_ORDER": "`PCI_BUS_ID` numbers the GPUs as `nvidia-smi` does.",
        "PYTORCH_ALLOC_CONF": "Torch's GPU memory. Unset means `expandable_segments:True`.",
        "PYTORCH_CUDA_ALLOC_CONF": "The older name of the same.",
        "CC": "The C compiler that Triton calls.",
        "CPATH": "Where the C compiler looks for headers, as those of Python.",
        "C_INCLUDE_PATH": "The same.",
        "LRU_CACHE_CAPACITY": "Kernels that torch keeps on a CPU.",
        "DNNL_PRIMITIVE_CACHE_CAPACITY": "The older name of the next one.",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "Kernels that oneDNN keeps on a CPU.",
    },
    "Several processes": {
        "RANK": "Number of this process, from torchrun or accelerate.",
        "WORLD_SIZE": "Number of processes.",
        "LOCAL_RANK": "Number of this process on its machine.",
        "LOCAL_WORLD_SIZE": "Number of processes on this machine.",
        "MASTER_ADDR": "Address of the main process.",
        "MASTER_PORT": "Port of the main process.",
        "SLURM_JOB_ID": "Shown by `anima-exp doctor`.",
    },
    "Terminal": {
        "NO_COLOR": "Anything turns colours off. What is trained on stands between brackets then.",
        "COLUMNS": "Width of the tables. In a pipe it is 160 by default.",
        "HYDRA_FULL_ERROR": "1 shows the traceback of a user's mistake too.",
        "USERNAME": "Separates the GPU leases of users, on a system without user ids.",
    },
}


def environment_page() -> str:
    """Return the page in Markdown."""
    return markdown.page("Environment variables", _lines())


def _lines() -> Iterator[str]:
    yield (
        "Settings are the first choice: a run's record holds them, and it holds no environment "
        "variable. These variables are read as well. Keys and tokens are never settings."
    )
    for heading, variables in VARIABLES.items():
        yield ""
        yield f"## {heading}"
        yield ""
        yield from markdown.table(
            ["variable", "what it does"],
            [[f"`{name}`", about] for name, about in variables.items()],
        )
