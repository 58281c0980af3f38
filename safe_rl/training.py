from __future__ import annotations
import torch
from safe_rl.policy import Policy
from safe_rl.collector import Collector
class Learner:
    def __init__(self, task, seed, settings, device, *, environments, hidden):
        self.task=task; self.settings=settings; self.device=torch.device(device)
        self.generator=torch.Generator(device=self.device).manual_seed(seed)
        env=task.vector_env(environments, device=self.device, seed=seed)
        self.constraint_names=env.constraint_names
        self.discount=task.discount
        self.policy=Policy(env.observation_size, env.action_low, env.action_high, hidden, self.generator)
        self.collector=Collector(env,self.policy,self.generator)
        self.updates=0
